#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "tests/ops/op_tester.h"
#include "tests/support/status_matchers.h"

namespace hachi {
namespace {

TEST(SqueezeTest, RemovesAxesOfOneElement) {
  EXPECT_THAT(
      InferText("graph g { input x: f32[N,1,3,1] const a: s64[1] = -1\n s: Squeeze(x, a) -> y: f32[?] }"),
      IsOkAndHolds("y: f32[N,1,3]"));
  EXPECT_THAT(InferText("graph g { input x: f32[N,1,3,1]\n s: Squeeze(x) -> y: f32[?] }"),
              IsOkAndHolds("y: f32[N,3]"));
  EXPECT_THAT(InferText("graph g { const x: s64[1] = 7\n s: Squeeze(x) -> y: s64[?] }"),
              IsOkAndHolds("y: s64[] = [7]"));
  EXPECT_OK(
      RunOpCase({.graph = "graph g { input x: f32[2,17,1,1] channels_last\n s: Squeeze(x) -> y: f32[2,17] }",
                 .tolerance = 0}));
}

TEST(SqueezeTest, OtherAxesAreRefused) {
  EXPECT_THAT(InferText("graph g { input x: f32[N,1] const a: s64[1] = 0\n s: Squeeze(x, a) -> y: f32[?] }"),
              StatusIs(absl::StatusCode::kInvalidArgument, testing::HasSubstr("axis 0 of [N,1]")));
}

}  // namespace
}  // namespace hachi
