#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "tests/ops/op_tester.h"
#include "tests/support/status_matchers.h"

namespace hachi {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

// The chosen boxes of one batch and class, of three of which the first two overlap by a third.
std::vector<int64_t> Chosen(std::string_view scores, std::string_view rest) {
  const auto y = RunReferences(absl::StrCat(
      "graph g { const b: f32[1,3,4] = 0 0 2 2  0 1 2 3  5 5 6 6 const s: f32[1,1,3] = ", std::string(scores),
      " const m: s64[] = 2 const i: f32[] = 0.3 const t: f32[] = 0.5 const half: f32[] = 0.34\n n: "
      "NonMaxSuppression(",
      std::string(rest), ") -> y: s64[?] }"));
  EXPECT_OK(y.status());
  std::vector<int64_t> boxes;
  for (int64_t k = 0; k < (*y)[0].shape()[0]; ++k) boxes.push_back((*y)[0].As<int64_t>()[3 * k + 2]);
  return boxes;
}

TEST(NonMaxSuppressionTest, OfOverlappingBoxesTheBestStays) {
  EXPECT_THAT(Chosen("0.6 0.9 0.7", "b, s, m, i, t"), ElementsAre(1, 2));
  EXPECT_THAT(Chosen("0.6 0.9 0.7", "b, s, m, half, t"), ElementsAre(1, 2));
  EXPECT_THAT(Chosen("0.9 0.9 0.4", "b, s, m, i, t"), ElementsAre(0));
  EXPECT_THAT(Chosen("0.6 0.9 0.4", "b, s, m, half, t"), ElementsAre(1, 0));
}

TEST(NonMaxSuppressionTest, NoneIsAskedForUnlessANumberIsGiven) {
  EXPECT_THAT(Chosen("0.6 0.9 0.7", "b, s"), IsEmpty());
}

TEST(NonMaxSuppressionTest, TheMostThatThereCanBeFollowsFromTheConstantsGiven) {
  const auto most = [](std::string_view more) {
    return InferText(
        absl::StrCat("graph g { input b: f32[N,100,4] input s: f32[N,5,100] input k: s64[1] "
                     "const few: s64[] = 7\n n: NonMaxSuppression(b, s, ",
                     std::string(more), ") {measured=1} -> y: s64[?], c: s64[?] }"));
  };
  EXPECT_THAT(most("few"), IsOkAndHolds(HasSubstr("y: s64[35*N,3]")));
  EXPECT_THAT(most("k"), IsOkAndHolds(HasSubstr("y: s64[500*N,3]")));
}

TEST(NonMaxSuppressionTest, ShapesThatContradictAreRefused) {
  EXPECT_THAT(InferText("graph g { input b: f32[1,9,4] input s: f32[1,5,8]\n"
                        " n: NonMaxSuppression(b, s) {measured=1} -> y: s64[?], c: s64[?] }"),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("boxes are [1,9,4]")));
}

}  // namespace
}  // namespace hachi
