#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "tests/ops/op_tester.h"
#include "tests/support/status_matchers.h"

namespace hachi {
namespace {

TEST(DequantizeLinearTest, IsExactInEveryLayout) {
  for (const char* type : {"u8", "s8"})
    for (const char* shape : {"[1]", "[2,17,5,3]", "[1,64,4,4] channels_last"})
      EXPECT_OK(RunOpCase(
          {.graph = absl::StrCat("graph g { input x: ", type, shape, " const s: f32[] = 0.1 const z: ", type,
                                 "[] = 7\n d: DequantizeLinear(x, s, z) -> y: f32", shape, "}"),
           .tolerance = 0,
           .kernel = "hachi_dequantize"}))
          << type << shape;
}

TEST(DequantizeLinearTest, BiasesAreWideAndScalesMayDifferAlongAnAxis) {
  const auto result = RunReferences(
      "graph g { const x: s32[3] = 1000000 -2 3 const s: f32[3] = 0.5 1 2\n d: DequantizeLinear(x, s) "
      "{axis=0} -> y: "
      "f32[?] }");
  ASSERT_OK(result.status());
  EXPECT_THAT((*result)[0].As<float>(), testing::ElementsAre(500000, -2, 6));
}

TEST(DequantizeLinearTest, BlocksAlongAnAxisHaveScalesOfTheirOwn) {
  const auto result = RunReferences(
      "graph g { const x: s8[3,2] = 1 2 3 4 5 6 const s: f32[2,2] = 1 10 100 1000 const z: s8[2,2] = 0 1 0 "
      "1\n"
      " d: DequantizeLinear(x, s, z) {axis=0,block_size=2} -> y: f32[?] }");
  ASSERT_OK(result.status());
  EXPECT_THAT((*result)[0].As<float>(), testing::ElementsAre(1, 10, 3, 30, 500, 5000));
}

TEST(DequantizeLinearTest, ContradictionsAreRefused) {
  using testing::HasSubstr;
  EXPECT_THAT(
      InferText("graph g { input x: f32[2] const s: f32[] = 1\n d: DequantizeLinear(x, s) -> y: f32[?] }"),
      StatusIs(absl::StatusCode::kUnimplemented, HasSubstr("has type f32, expected u8")));
  EXPECT_THAT(
      InferText(
          "graph g { input x: u8[2] const s: f32[] = 1 const z: s8[] = 1\n d: DequantizeLinear(x, s, z) "
          "-> y: f32[?] }"),
      StatusIs(absl::StatusCode::kUnimplemented, HasSubstr("has type s8, expected u8")));
}

}  // namespace
}  // namespace hachi
