#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "tests/ops/op_tester.h"
#include "tests/support/status_matchers.h"

namespace hachi {
namespace {

using testing::ElementsAre;

std::vector<int32_t> Results(const char* op, const char* attrs = "") {
  auto result =
      RunReferences(absl::StrCat("graph g { const a: s32[4] = 7 -7 7 -7 const b: s32[4] = 3 3 -3 0\n n: ", op,
                                 "(a, b) {", attrs, "} -> y: s32[?] }"));
  EXPECT_OK(result.status());
  const auto elements = (*result)[0].As<int32_t>();
  return {elements.begin(), elements.end()};
}

TEST(BitwiseTest, MembersHaveKnownAnswers) {
  EXPECT_THAT(Results("Mod"), ElementsAre(1, 2, -2, 0));
  EXPECT_THAT(Results("Mod", "fmod=1"), ElementsAre(1, -1, 1, 0));
  EXPECT_THAT(Results("BitwiseAnd"), ElementsAre(3, 1, 5, 0));
  EXPECT_THAT(Results("BitwiseOr"), ElementsAre(7, -5, -1, -7));
  EXPECT_THAT(Results("BitwiseXor"), ElementsAre(4, -6, -6, -7));
}

TEST(BitwiseTest, BitsThatAreShiftedOutAreGone) {
  const auto result = RunReferences(
      "graph g { const a: u8[3] = 255 1 1 const b: u8[3] = 4 9 1\n"
      " n: BitShift(a, b) {direction=\"LEFT\"} -> y: u8[?] }");
  ASSERT_OK(result.status());
  EXPECT_THAT((*result)[0].As<uint8_t>(), ElementsAre(240, 0, 2));
}

TEST(BitwiseTest, RealRemaindersAreTruncated) {
  EXPECT_THAT(InferText("graph g { input a: f32[2]\n n: Mod(a, a) -> y: f32[?] }"),
              StatusIs(absl::StatusCode::kInvalidArgument, testing::HasSubstr("with fmod 0, expected 1")));
}

}  // namespace
}  // namespace hachi
