#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "tests/ops/op_tester.h"
#include "tests/support/status_matchers.h"

namespace hachi {
namespace {

TEST(ConcatTest, JoinsAlongEveryAxisInEveryLayout) {
  for (const char* layout : {"", " channels_last"})
    for (const int axis : {0, 1, -1}) {
      const char* second = axis == 0 ? "[3,17,5,3]" : axis == 1 ? "[2,4,5,3]" : "[2,17,5,6]";
      EXPECT_OK(RunOpCase(
          {.graph = absl::StrCat("graph g { input a: f32[2,17,5,3]", layout, " input b: f32", second, layout,
                                 "\n c: Concat(a, b, a) {axis=", axis, "} -> y: f32[?] }"),
           .tolerance = 0,
           .kernel = "hachi_copy"}))
          << layout << axis;
    }
}

TEST(ConcatTest, Int8IsBroughtToTheScaleOfTheResult) {
  EXPECT_OK(
      RunOpCase({.graph = "graph g { input a: u8[2,17,5,3] channels_last quant(0.1:0) input b: s8[2,8,5,3] "
                          "channels_last quant(0.07:3)\n c: Concat(a, b) {axis=1} -> y: u8[2,25,5,3] "
                          "channels_last quant(0.1:0) }",
                 .tie_share = 1,
                 .kernel = "hachi_copy"}));
}

TEST(ConcatTest, DimensionsAreAdded) {
  EXPECT_THAT(
      InferText("graph g { input a: f32[N,3] input b: f32[M,3]\n c: Concat(a, b) {axis=0} -> y: f32[?] }"),
      IsOkAndHolds("y: f32[M+N,3]"));
  EXPECT_THAT(
      InferText(
          "graph g { const a: s64[2] = 1 2 const b: s64[1] = 3\n c: Concat(a, b) {axis=0} -> y: s64[?] }"),
      IsOkAndHolds("y: s64[3] = [1,2,3]"));
}

TEST(ConcatTest, ContradictionsAreRefused) {
  using testing::HasSubstr;
  EXPECT_THAT(
      InferText("graph g { input a: f32[2,3] input b: f32[2,4]\n c: Concat(a, b) {axis=0} -> y: f32[?] }"),
      StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("but for axis 0")));
  EXPECT_THAT(
      InferText("graph g { input a: f32[2,3] input b: f32[2]\n c: Concat(a, b) {axis=1} -> y: f32[?] }"),
      StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("[2], expected that of input 0")));
  EXPECT_THAT(
      InferText("graph g { input a: f32[2] input b: s64[2]\n c: Concat(a, b) {axis=0} -> y: f32[?] }"),
      StatusIs(absl::StatusCode::kUnimplemented, HasSubstr("has type s64, expected f32")));
}

}  // namespace
}  // namespace hachi
