#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "tests/ops/op_tester.h"
#include "tests/support/status_matchers.h"

namespace hachi {
namespace {

TEST(UnsqueezeTest, AddsAxesCountedInTheResult) {
  EXPECT_THAT(
      InferText("graph g { input x: f32[N,3] const a: s64[2] = -1 1\n u: Unsqueeze(x, a) -> y: f32[?] }"),
      IsOkAndHolds("y: f32[N,1,3,1]"));
  EXPECT_THAT(
      InferText("graph g { const x: s64[] = 7 const a: s64[1] = 0\n u: Unsqueeze(x, a) -> y: s64[?] }"),
      IsOkAndHolds("y: s64[1] = [7]"));
  EXPECT_OK(RunOpCase({.graph = "graph g { input x: f32[2,17] const a: s64[1] = 0\n u: Unsqueeze(x, a) -> y: "
                                "f32[1,2,17] }",
                       .tolerance = 0}));
}

TEST(UnsqueezeTest, AnAxisTwiceIsRefused) {
  EXPECT_THAT(
      InferText("graph g { input x: f32[N] const a: s64[2] = 1 -2\n u: Unsqueeze(x, a) -> y: f32[?] }"),
      StatusIs(absl::StatusCode::kInvalidArgument, testing::HasSubstr("axis -2 is there twice")));
}

}  // namespace
}  // namespace hachi
