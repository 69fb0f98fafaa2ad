#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "engine/graph/graph.h"
#include "engine/ops/op.h"
#include "tests/ops/op_tester.h"
#include "tests/support/status_matchers.h"

namespace hachi {
namespace {

TEST(ClipTest, Fp32AgreesWithEitherBoundLeftOut) {
  for (const char* inputs : {"x, a, b", "x, _, b", "x, a", "x"})
    EXPECT_OK(RunOpCase(
        {.graph = absl::StrCat("graph g { input x: f32[3,17] const a: f32[] = -0.5 const b: f32[] = "
                               "1\n c: Clip(",
                               inputs, ") -> y: f32[3,17] }")}))
        << inputs;
}

TEST(ClipTest, Int8IsExact) {
  for (const char* y : {"u8[300] quant(0.1:0)", "s8[300] quant(0.05:3)"})
    EXPECT_OK(
        RunOpCase({.graph = absl::StrCat("graph g { input x: u8[300] quant(0.1:60) const a: f32[] = 0 const "
                                         "b: f32[] = 6\n c: Clip(x, a, b) -> y: ",
                                         y, "}"),
                   .tie_share = 1,
                   .kernel = "hachi_table"}))
        << y;
}

TEST(ClipTest, BoundsMayBeComputed) {
  for (const char* inputs : {"x, a, b", "x, b, a", "x, _, a", "x, a"})
    EXPECT_OK(RunOpCase(
        {.graph = absl::StrCat("graph g { input x: f32[9,3] input a: f32[] const b: f32[1] = 1\n c: Clip(",
                               inputs, ") -> y: f32[9,3] }"),
         .kernel = "hachi_clip"}))
        << inputs;
}

TEST(ClipTest, PlainIntegersRunByReference) {
  const auto result = RunReferences(
      "graph g { const x: s64[4] = -9 2 5 99 const a: s64[] = 0 const b: s64[] = 5\n c: Clip(x, a, b) "
      "-> y: s64[4] }");
  ASSERT_OK(result.status());
  EXPECT_THAT((*result)[0].As<int64_t>(), testing::ElementsAre(0, 2, 5, 5));
}

TEST(ClipTest, RealBoundsOfIntegersMayBeAnything) {
  for (const auto& [low, high] : {std::pair("nan", "nan"), {"-inf", "inf"}, {"-1e30", "1e30"}}) {
    const auto result =
        RunReferences(absl::StrCat("graph g { const x: s64[2] = -9 99 const a: f32[] = ", low,
                                   " const b: f32[] = ", high, "\n c: Clip(x, a, b) -> y: s64[2] }"));
    ASSERT_OK(result);
    EXPECT_THAT((*result)[0].As<int64_t>(), testing::ElementsAre(-9, 99)) << low;
  }
}

TEST(ClipTest, ABoundThatIsNoScalarIsRefused) {
  EXPECT_THAT(InferText("graph g { input x: f32[2] const a: f32[2] = 0 1\n c: Clip(x, a) -> y: f32[?] }"),
              StatusIs(absl::StatusCode::kInvalidArgument, testing::HasSubstr("[2], expected a scalar")));
}

}  // namespace
}  // namespace hachi
