#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "tests/ops/op_tester.h"
#include "tests/support/status_matchers.h"

namespace hachi {
namespace {

TEST(QuantizeLinearTest, IsExactInEveryLayout) {
  for (const char* zero : {"u8[] = 0", "u8[] = 119", "s8[] = -5"})
    for (const char* shape : {"[1]", "[2,17,5,3]", "[1,64,4,4] channels_last"})
      EXPECT_OK(RunOpCase(
          {.graph = absl::StrCat("graph g { input x: f32", shape, " const s: f32[] = 0.1 const z: ", zero,
                                 "\n q: QuantizeLinear(x, s, z) -> y: u8", shape, "}"),
           .low = -20,
           .high = 20,
           .tie_share = 1,
           .kernel = "hachi_quantize"}))
          << zero << shape;
}

TEST(QuantizeLinearTest, RescalesIntegersThroughATable) {
  EXPECT_OK(RunOpCase(
      {.graph = "graph g { input x: u8[999] quant(0.1:100) const s: f32[] = 0.07 const z: s8[] = 3\n "
                "q: QuantizeLinear(x, s, z) -> y: s8[999] }",
       .tie_share = 1,
       .kernel = "hachi_table"}));
}

TEST(QuantizeLinearTest, RoundsHalfToEvenAndSaturates) {
  const auto result = RunReferences(
      "graph g { const x: f32[7] = 0.5 1.5 2.5 -0.5 -1.5 999 -999 const s: f32[] = 1 const z: s8[] = 1\n q: "
      "QuantizeLinear(x, s, z) -> y: s8[?] }");
  ASSERT_OK(result.status());
  EXPECT_THAT((*result)[0].As<int8_t>(), testing::ElementsAre(1, 3, 3, 1, -1, 127, -128));
}

TEST(QuantizeLinearTest, ScalesMayDifferAlongAnAxis) {
  const auto result = RunReferences(
      "graph g { const x: f32[2,2] = 1 2 3 4 const s: f32[2] = 1 0.5 const z: u8[2] = 0 10\n q: "
      "QuantizeLinear(x, s, "
      "z) {axis=0} -> y: u8[?] }");
  ASSERT_OK(result.status());
  EXPECT_THAT((*result)[0].As<uint8_t>(), testing::ElementsAre(1, 2, 16, 18));
}

TEST(QuantizeLinearTest, TheOutputSaysWhatItsIntegersMean) {
  EXPECT_THAT(
      InferText("graph g { input x: f32[N] const s: f32[] = 0.5 const z: s8[] = 3\n q: QuantizeLinear(x, s, "
                "z) -> y: f32[?] }"),
      IsOkAndHolds("y: s8[N] quant(0.5:3)"));
  EXPECT_THAT(
      InferText("graph g { input x: f32[N] const s: f32[] = 0.5\n q: QuantizeLinear(x, s) -> y: f32[?] }"),
      IsOkAndHolds("y: u8[N] quant(0.5:0)"));
  EXPECT_THAT(
      InferText(
          "graph g { input x: f32[N] const s: f32[] = 0.5\n q: QuantizeLinear(x, s) {output_dtype=3} -> "
          "y: f32[?] }"),
      IsOkAndHolds("y: s8[N] quant(0.5:0)"));
}

TEST(QuantizeLinearTest, ScalesMayBeComputed) {
  EXPECT_THAT(InferText("graph g { input x: f32[2] input s: f32[]\n q: QuantizeLinear(x, s) -> y: f32[?] }"),
              IsOkAndHolds("y: u8[2]"));
  EXPECT_OK(RunOpCase(
      {.graph = "graph g { const x: f32[2,3] = random 1 0 9 const s: f32[3] = 1 2 3 input z: u8[3]\n"
                " q: QuantizeLinear(x, s, z) -> y: u8[?] }",
       .kernel = "ref"}));
}

TEST(QuantizeLinearTest, IntegersOf16BitsAreExact) {
  for (const char* type : {"u16", "s16"})
    EXPECT_OK(RunOpCase(
        {.graph = absl::StrCat("graph g { input x: f32[2,17,5] const s: f32[] = 0.0001 const z: ", type,
                               "[] = 700\n q: QuantizeLinear(x, s, z) -> y: ", type, "[?]}"),
         .tie_share = 1,
         .kernel = "hachi_quantize"}));
}

TEST(QuantizeLinearTest, ContradictionsAreRefused) {
  using testing::HasSubstr;
  const auto infer = [](const char* rest) {
    return InferText(absl::StrCat("graph g { input x: f32[2,3] input c: f32[] ", rest, " -> y: f32[?] }"))
        .status();
  };
  EXPECT_THAT(
      infer("const s: f32[] = -1\n q: QuantizeLinear(x, s)"),
      StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("a scale is -1, expected a positive number")));
  EXPECT_THAT(
      infer("const s: f32[2] = 1 2\n q: QuantizeLinear(x, s)"),
      StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("2 scales, expected 3, the size of axis 1")));
  EXPECT_THAT(
      infer("const s: f32[3] = 1 2 3 const z: u8[2] = 1 2\n q: QuantizeLinear(x, s, z)"),
      StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("2 zero points, expected one for each of 3")));
  EXPECT_THAT(infer("input z: u8[2]\n q: QuantizeLinear(x, c, z)"),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("zero point [2], expected one shape")));
  EXPECT_THAT(infer("const s: f32[] = 1 const z: s32[] = 0\n q: QuantizeLinear(x, s, z)"),
              StatusIs(absl::StatusCode::kUnimplemented, HasSubstr("has type s32, expected u8 or s8")));
  EXPECT_THAT(infer("const s: f32[2] = 1 2\n q: QuantizeLinear(x, s) {block_size=2}"),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("expected [2,2] for blocks of 2")));
  EXPECT_THAT(infer("const s: f32[] = 1\n q: QuantizeLinear(x, s) {output_dtype=17}"),
              StatusIs(absl::StatusCode::kUnimplemented, HasSubstr("output_dtype")));
}

TEST(QuantizeLinearTest, FactorsOfTheLastAxisComeFirst) {
  for (const char* type : {"u8", "s8"})
    EXPECT_OK(RunOpCase(
        {.graph = absl::StrCat(
             "graph g { input x: f32[2,5,19] const s: f32[] = 0.02 const z: ", type,
             "[] = 7 const f: f32[19] = random 1 0.1 3\n n: QuantizeLinear(x, s, z, f) -> y: ", type,
             "[?] }"),
         .kernel = "hachi_quantize_rows",
         .threads = 2}));
}

}  // namespace
}  // namespace hachi
