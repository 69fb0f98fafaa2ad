#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "tests/ops/op_tester.h"
#include "tests/support/status_matchers.h"

namespace hachi {
namespace {

TEST(GlobalAveragePoolTest, Fp32AgreesInEitherLayout) {
  for (const char* shape : {"[1,1,1,1]", "[2,17,7,7]", "[1,64,5,3]", "[3,16,9]", "[1,5,2,3,4]"})
    for (const char* layout : {"", " channels_last"})
      EXPECT_OK(RunOpCase({.graph = absl::StrCat("graph g { input x: f32", shape, layout,
                                                 "\n p: GlobalAveragePool(x) -> y: f32[?] }")}))
          << shape << layout;
}

TEST(GlobalAveragePoolTest, Int8AgreesWithAnyScalesAndZeroPoints) {
  for (const char* x :
       {"u8[2,17,7,7] channels_last quant(0.1:0)", "u8[2,17,7,7] channels_last quant(0.1:119)",
        "s8[2,17,7,7] channels_last quant(0.1:-5)"})
    for (const char* y : {"u8[2,17,1,1] channels_last quant(0.02:100)", "s8[2,17,1,1] quant(0.05:3)",
                          "f32[2,17,1,1] channels_last"})
      EXPECT_OK(RunOpCase(
          {.graph = absl::StrCat("graph g { input x: ", x, "\n p: GlobalAveragePool(x) -> y: ", y, "}"),
           .kernel = "hachi_average_pixels"}))
          << x << y;
}

TEST(GlobalAveragePoolTest, AMatrixIsRefused) {
  EXPECT_THAT(
      InferText("graph g { input x: f32[2,3]\n p: GlobalAveragePool(x) -> y: f32[?] }"),
      StatusIs(absl::StatusCode::kInvalidArgument, testing::HasSubstr("has rank 2, expected 3 to 5")));
}

}  // namespace
}  // namespace hachi
