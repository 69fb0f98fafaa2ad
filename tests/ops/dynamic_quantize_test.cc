#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "tests/ops/op_tester.h"
#include "tests/support/status_matchers.h"

namespace hachi {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

TEST(DynamicQuantizeLinearTest, TheScaleReachesFromTheLeastToTheLargestAndZero) {
  const auto y = RunReferences(
      "graph g { const x: f32[6] = 0 2 -3 -2.5 1.34 0.5\n"
      " n: DynamicQuantizeLinear(x) -> y: u8[?], s: f32[?], z: u8[?] }");
  ASSERT_OK(y);
  EXPECT_THAT((*y)[0].As<uint8_t>(), ElementsAre(153, 255, 0, 26, 221, 179));
  EXPECT_FLOAT_EQ((*y)[1].As<float>()[0], 5.0f / 255);
  EXPECT_EQ((*y)[2].As<uint8_t>()[0], 153);
}

TEST(DynamicQuantizeLinearTest, ZerosStayZeros) {
  const auto y = RunReferences(
      "graph g { const x: f32[2] = 0 0\n n: DynamicQuantizeLinear(x) -> y: u8[?], s: f32[?], z: u8[?] }");
  ASSERT_OK(y);
  EXPECT_THAT((*y)[0].As<uint8_t>(), ElementsAre(0, 0));
}

TEST(DynamicQuantizeLinearTest, KernelAgreesForTensorsAndRows) {
  for (const char* attrs : {"", "by_row=1"})
    for (const char* shape : {"[7]", "[3,5,33]", "[64,128]"})
      EXPECT_OK(RunOpCase(
          {.graph = absl::StrCat("graph g { input x: f32", shape, "\n n: DynamicQuantizeLinear(x) {", attrs,
                                 "} -> y: u8[?], s: f32[?], z: u8[?] }"),
           .kernel = "hachi_quantize_rows",
           .threads = 2}))
          << attrs << shape;
}

TEST(RescaleRowsTest, KernelAgreesForTensorsAndRows) {
  for (const char* rows : {"[]", "[3,5,1]"})
    for (const char* bias : {"", ", b"})
      EXPECT_OK(RunOpCase(
          {.graph = absl::StrCat("graph g { input p: f32[3,5,40] input s: f32", rows, " input z: u8", rows,
                                 " const c: f32[40] = random 1 -2 2 const b: f32[40] = random 2 -1 1\n"
                                 " n: RescaleRows(p, s, z, c",
                                 bias, ") -> y: f32[?] }"),
           .tolerance = 1e-5,
           .kernel = "hachi_rescale_rows"}))
          << rows << bias;
}

TEST(RescaleRowsTest, ShapesThatContradictAreRefused) {
  EXPECT_THAT(
      InferText("graph g { input p: f32[3,5] input s: f32[3,2] input z: u8[] const c: f32[5] = splat 1\n"
                " n: RescaleRows(p, s, z, c) -> y: f32[?] }"),
      StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("'s' has shape [3,2], expected [3,1]")));
}

}  // namespace
}  // namespace hachi
