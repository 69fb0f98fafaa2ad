#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "tests/ops/op_tester.h"
#include "tests/support/status_matchers.h"

namespace hachi {
namespace {

TEST(TransposeTest, PermutesAxesWhateverTheLayouts) {
  for (const char* x : {"", " channels_last"})
    for (const char* y : {"", " channels_last"})
      for (const char* type : {"f32", "u8"}) {
        const char* quant = *type == 'u' ? " quant(0.5:1)" : "";
        EXPECT_OK(RunOpCase({.graph = absl::StrCat("graph g { input x: ", type, "[2,17,5,3]", x, quant,
                                                   "\n t: Transpose(x) {perm=[0,2,1,3]} -> y: ", type,
                                                   "[2,5,17,3]", y, quant, "}"),
                             .tolerance = 0,
                             .tie_share = 1}))
            << type << x << y;
      }
  EXPECT_OK(RunOpCase(
      {.graph = "graph g { input x: f32[7,16]\n t: Transpose(x) -> y: f32[16,7] }", .tolerance = 0}));
  EXPECT_OK(RunOpCase(
      {.graph = "graph g { input x: f32[2,3,4]\n t: Transpose(x) -> y: f32[4,3,2] }", .tolerance = 0}));
}

TEST(TransposeTest, SymbolsMoveWithTheirAxes) {
  EXPECT_THAT(
      InferText("graph g { input x: s8[N,S,3] quant(0.5:1)\n t: Transpose(x) {perm=[2,0,1]} -> y: f32[?] }"),
      IsOkAndHolds("y: s8[3,N,S] quant(0.5:1)"));
}

TEST(TransposeTest, WhatIsNoPermutationIsRefused) {
  for (const char* perm : {"[0]", "[0,0]", "[0,2]", "[-1,0]"})
    EXPECT_THAT(
        InferText(
            absl::StrCat("graph g { input x: f32[2,3]\n t: Transpose(x) {perm=", perm, "} -> y: f32[?] }")),
        StatusIs(absl::StatusCode::kInvalidArgument, testing::HasSubstr("expected a permutation of 2 axes")))
        << perm;
}

}  // namespace
}  // namespace hachi
