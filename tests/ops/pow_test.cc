#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "tests/ops/op_tester.h"
#include "tests/support/status_matchers.h"

namespace hachi {
namespace {

TEST(PowTest, ConstantPowersAreWrittenOut) {
  for (const char* exponent : {"f32[] = 2", "f32[1] = 3", "f32[] = 0.5", "f32[] = -1", "s64[] = 2"})
    EXPECT_OK(RunOpCase({.graph = absl::StrCat("graph g { input x: f32[3,999] const e: ", exponent,
                                               "\n n: Pow(x, e) -> y: f32[3,999] }"),
                         .low = 0.1,
                         .high = 9,
                         .tolerance = 1e-6,
                         .kernel = "hachi_unary"}))
        << exponent;
}

TEST(PowTest, AnyExponentsBroadcast) {
  for (const char* exponent : {"const e: f32[] = 1.7", "input e: f32[7]", "input e: f32[5,1]"})
    EXPECT_OK(RunOpCase(
        {.graph = absl::StrCat("graph g { input x: f32[5,7] ", exponent, "\n n: Pow(x, e) -> y: f32[5,7] }"),
         .low = 0.1,
         .high = 3,
         .tolerance = 1e-6,
         .kernel = "hachi_broadcast"}))
        << exponent;
}

TEST(PowTest, SquareOfANegativeNumberIsPositive) {
  const auto result =
      RunReferences("graph g { const x: f32[2] = -3 2 const e: f32[] = 2\n n: Pow(x, e) -> y: f32[?] }");
  ASSERT_OK(result.status());
  EXPECT_THAT((*result)[0].As<float>(), testing::ElementsAre(9, 4));
}

TEST(PowTest, PowersOfIntegersAreIntegers) {
  const auto result = RunReferences(
      "graph g { const x: s32[4] = 2 -3 2 7 const e: f32[4] = 3 3 -1 40\n n: Pow(x, e) -> y: s32[?] }");
  ASSERT_OK(result.status());
  EXPECT_THAT((*result)[0].As<int32_t>(), testing::ElementsAre(8, -27, 0, 2147483647));
}

}  // namespace
}  // namespace hachi
