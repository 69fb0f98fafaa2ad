#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "tests/ops/op_tester.h"
#include "tests/support/status_matchers.h"

namespace hachi {
namespace {

TEST(ShapeTest, TheContentIsTheDimensions) {
  const auto infer = [](const char* attrs) {
    return InferText(absl::StrCat("graph g { input x: f32[N,3,S]\n s: Shape(x)", attrs, " -> y: s64[?] }"));
  };
  EXPECT_THAT(infer(""), IsOkAndHolds("y: s64[3] = [N,3,S]"));
  EXPECT_THAT(infer("{start=1}"), IsOkAndHolds("y: s64[2] = [3,S]"));
  EXPECT_THAT(infer("{start=-2, end=-1}"), IsOkAndHolds("y: s64[1] = [3]"));
  EXPECT_THAT(infer("{start=5}"), IsOkAndHolds("y: s64[0] = []"));
}

TEST(ShapeTest, RunsByReference) {
  EXPECT_OK(RunOpCase(
      {.graph = "graph g { input x: f32[2,3,4]\n s: Shape(x) {start=1} -> y: s64[2] }", .kernel = "ref"}));
}

}  // namespace
}  // namespace hachi
