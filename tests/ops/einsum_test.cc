#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "tests/ops/op_tester.h"
#include "tests/support/status_matchers.h"

namespace hachi {
namespace {

using testing::ElementsAre;

std::vector<float> Result(const char* equation) {
  auto result = RunReferences(absl::StrCat(
      "graph g { const a: f32[2,3] = 1 2 3 4 5 6 const b: f32[2,3] = 1 0 1 0 1 0\n n: Einsum(a, b) "
      "{equation=\"",
      equation, "\"} -> y: f32[?] }"));
  EXPECT_OK(result.status());
  const auto elements = (*result)[0].As<float>();
  return {elements.begin(), elements.end()};
}

TEST(EinsumTest, EquationsHaveKnownAnswers) {
  EXPECT_THAT(Result("ij,kj->ik"), ElementsAre(4, 2, 10, 5));
  EXPECT_THAT(Result("ij,ij->"), ElementsAre(9));
  EXPECT_THAT(Result("ij,ij"), ElementsAre(9));
  EXPECT_THAT(Result("...j,...j->j"), ElementsAre(1, 5, 3));
  EXPECT_THAT(Result("ij,ij->ji"), ElementsAre(1, 0, 0, 5, 3, 0));
}

TEST(EinsumTest, SizesHaveToAgree) {
  EXPECT_THAT(
      InferText("graph g { input a: f32[2,3] input b: f32[2,4]\n n: Einsum(a, b) {equation=\"ij,kj->ik\"} -> "
                "y: f32[?] }"),
      StatusIs(absl::StatusCode::kInvalidArgument, testing::HasSubstr("axis 'j' has 3 and 4 elements")));
}

}  // namespace
}  // namespace hachi
