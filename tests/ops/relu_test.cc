#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "tests/ops/op_tester.h"
#include "tests/support/status_matchers.h"

namespace hachi {
namespace {

TEST(ReluTest, Fp32AgreesInEveryLayout) {
  for (const char* type :
       {"f32[1,1,1,1]", "f32[2,17,5,3]", "f32[2,17,5,3] channels_last", "f32[33]", "f32[]"})
    EXPECT_OK(
        RunOpCase({.graph = absl::StrCat("graph g { input x: ", type, "\n r: Relu(x) -> y: ", type, "}")}))
        << type;
}

TEST(ReluTest, Int8IsExactForAnyScalesAndZeroPoints) {
  for (const char* x : {"u8[2,300] quant(0.1:0)", "u8[2,300] quant(0.1:119)", "s8[2,300] quant(0.1:-5)"})
    for (const char* y : {"u8[2,300] quant(0.1:0)", "s8[2,300] quant(0.05:3)", "f32[2,300]"})
      EXPECT_OK(RunOpCase({.graph = absl::StrCat("graph g { input x: ", x, "\n r: Relu(x) -> y: ", y, "}"),
                           .tolerance = 0,
                           .tie_share = 1,
                           .kernel = "hachi_table"}))
          << x << y;
}

TEST(ReluTest, FusedOperationsGoIntoTheTable) {
  EXPECT_OK(
      RunOpCase({.graph = "graph g { input x: u8[999] quant(0.1:100)\n r: Relu(x) post swish(1) clip(0,3) "
                          "-> y: u8[999] quant(0.02:4) }",
                 .tie_share = 1,
                 .kernel = "hachi_table"}));
}

TEST(ReluTest, IntegersWithoutAScaleAreRefused) {
  EXPECT_THAT(InferText("graph g { input x: s32[2]\n r: Relu(x) -> y: f32[?] }"),
              StatusIs(absl::StatusCode::kUnimplemented, testing::HasSubstr("has type s32, expected f32")));
}

}  // namespace
}  // namespace hachi
