#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "tests/ops/op_tester.h"
#include "tests/support/status_matchers.h"

namespace hachi {
namespace {

TEST(GeluTest, Fp32AgreesInEveryLayout) {
  for (const char* type :
       {"f32[1]", "f32[2,17,5,3]", "f32[2,17,5,3] channels_last", "f32[33]", "f32[]", "f32[3,9000]"})
    EXPECT_OK(
        RunOpCase({.graph = absl::StrCat("graph g { input x: ", type, "\n n: Gelu(x) -> y: ", type, "}"),
                   .low = -9,
                   .high = 9,
                   .tolerance = 1e-6}))
        << type;
}

TEST(GeluTest, Int8IsExactForAnyScalesAndZeroPoints) {
  for (const char* x : {"u8[2,300] quant(0.05:0)", "u8[2,300] quant(0.05:119)", "s8[2,300] quant(0.03:-5)"})
    for (const char* y : {"u8[2,300] quant(0.02:3)", "s8[2,300] quant(0.05:3)", "f32[2,300]"})
      EXPECT_OK(RunOpCase({.graph = absl::StrCat("graph g { input x: ", x, "\n n: Gelu(x) -> y: ", y, "}"),
                           .tolerance = 1e-6,
                           .tie_share = 1,
                           .kernel = "hachi_table"}))
          << x << y;
}

TEST(GeluTest, TanhFormAgrees) {
  constexpr char kForm[] = " n: Gelu(x) {approximate=\"tanh\"} -> ";
  EXPECT_OK(RunOpCase({.graph = absl::StrCat("graph g { input x: f32[3,999]\n", kForm, "y: f32[3,999] }"),
                       .low = -9,
                       .high = 9,
                       .tolerance = 1e-6}));
  EXPECT_OK(RunOpCase({.graph = absl::StrCat("graph g { input x: u8[999] quant(0.1:100)\n", kForm,
                                             "y: u8[999] quant(0.02:4) }"),
                       .tie_share = 1,
                       .kernel = "hachi_table"}));
}

TEST(GeluTest, RunsOnAProductsAccumulators) {
  EXPECT_OK(RunOpCase(
      {.graph = "graph g { input x: f32[5,33] const w: f32[33,40] = random 1 -1 1\n m: MatMul(x, w) "
                "post gelu() -> y: f32[5,40] }",
       .tolerance = 2e-6}));
  EXPECT_OK(RunOpCase(
      {.graph = "graph g { input x: u8[5,64] quant(0.02:0) const w: s8[64,48] quant(0.01:0) = random 1 "
                "-63 63\n m: MatMul(x, w) post gelu() -> y: u8[5,48] quant(0.05:3) }"}));
}

TEST(GeluTest, AnotherApproximationIsRefused) {
  EXPECT_THAT(InferText("graph g { input x: f32[2]\n n: Gelu(x) {approximate=\"sigmoid\"} -> y: f32[?] }"),
              StatusIs(absl::StatusCode::kInvalidArgument, testing::HasSubstr("expected none or tanh")));
}

}  // namespace
}  // namespace hachi
