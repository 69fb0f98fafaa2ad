#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "absl/strings/str_cat.h"
#include "tests/ops/op_tester.h"
#include "tests/support/status_matchers.h"

namespace hachi {
namespace {

TEST(CastTest, AgreesForEveryPairOfTypes) {
  for (const char* from : {"f32", "f64", "s64", "s32", "u8", "s8"})
    for (const int to : {1, 2, 3, 6, 7, 9, 11})
      EXPECT_OK(RunOpCase({.graph = absl::StrCat("graph g { input x: ", from, "[3,700]\n c: Cast(x) {to=", to,
                                                 "} -> y: f32[?] }"),
                           .low = 0,
                           .high = 100,
                           .tolerance = 0,
                           .tie_share = 1,
                           .kernel = "hachi_cast"}))
          << from << to;
}

TEST(CastTest, RoundsTowardsZeroAndSaturates) {
  const auto result =
      RunReferences("graph g { const x: f32[5] = 1.9 -1.9 1e30 -1e30 nan\n c: Cast(x) {to=6} -> y: s32[?] }");
  ASSERT_OK(result.status());
  EXPECT_THAT((*result)[0].As<int32_t>(), testing::ElementsAre(1, -1, 2147483647, -2147483648, 0));
}

TEST(CastTest, ContentIsKeptBetweenIntegers) {
  EXPECT_THAT(
      InferText("graph g { input x: f32[N,3]\n s: Shape(x) -> d: s64[?]\n c: Cast(d) {to=6} -> y: s32[?] }"),
      IsOkAndHolds("y: s32[2] = [N,3]"));
}

TEST(CastTest, OtherTypesAreRefused) {
  EXPECT_THAT(InferText("graph g { input x: f32[2]\n c: Cast(x) {to=8} -> y: f32[?] }"),
              StatusIs(absl::StatusCode::kUnimplemented, testing::HasSubstr("'to' is ONNX type 8")));
}

TEST(CastTest, RealNumbersOfSixteenBitsAreRounded) {
  for (const char* to : {"10", "16"}) {
    const auto result =
        RunReferences(absl::StrCat("graph g { const x: f32[3] = 1 1.00048828125 -70000\n a: Cast(x) {to=", to,
                                   "} -> h: f16[?]\n b: Cast(h) {to=1} -> y: f32[?] }"));
    ASSERT_OK(result.status());
    const bool half = std::string_view(to) == "10";
    EXPECT_THAT((*result)[0].As<float>(), testing::ElementsAre(1, 1, half ? -INFINITY : -70144));
  }
}

}  // namespace
}  // namespace hachi
