#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "tests/ops/op_tester.h"
#include "tests/support/status_matchers.h"

namespace hachi {
namespace {

TEST(HardSigmoidTest, Fp32AgreesInEveryLayout) {
  for (const char* type :
       {"f32[1]", "f32[2,17,5,3]", "f32[2,17,5,3] channels_last", "f32[33]", "f32[]", "f32[3,9000]"})
    EXPECT_OK(RunOpCase(
        {.graph = absl::StrCat("graph g { input x: ", type, "\n n: HardSigmoid(x) -> y: ", type, "}"),
         .low = -9,
         .high = 9,
         .tolerance = 1e-6}))
        << type;
}

TEST(HardSigmoidTest, Int8IsExactForAnyScalesAndZeroPoints) {
  for (const char* x : {"u8[2,300] quant(0.05:0)", "u8[2,300] quant(0.05:119)", "s8[2,300] quant(0.03:-5)"})
    for (const char* y : {"u8[2,300] quant(0.02:3)", "s8[2,300] quant(0.05:3)", "f32[2,300]"})
      EXPECT_OK(RunOpCase({.graph = absl::StrCat("graph g { input x: ", x,
                                                 "\n n: HardSigmoid(x) {alpha=0.3,beta=0.4} -> y: ", y, "}"),
                           .tolerance = 1e-6,
                           .tie_share = 1,
                           .kernel = "hachi_table"}))
          << x << y;
}

}  // namespace
}  // namespace hachi
