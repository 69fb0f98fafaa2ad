#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "engine/passes/passes.h"
#include "tests/support/status_matchers.h"

namespace hachi {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

// A table of tensors of four channels, of which the first reaches a hundred times as far as the others.
CalibrationTable TableOf(const std::vector<std::string>& names, ChannelAxis axis) {
  std::vector<float> values;
  for (int i = -50; i <= 50; ++i)
    for (int c = 0; c < 4; ++c) values.push_back(static_cast<float>(i) * (c == 0 ? 1.0f : 0.01f));
  CalibrationTable table({});
  for (const std::string& name : names) table.Observe(name, values, {.channels = 4, .axis = axis});
  return table;
}

struct Repaired {
  std::string graph;
  std::vector<RepairReport> reports;
};

Repaired Repair(const char* text, const CalibrationTable& table, const Repairs& repairs = {}) {
  auto graph = ParseGraph(text);
  EXPECT_OK(graph);
  Repaired result;
  PassOptions options{.table = &table, .repairs = repairs, .repaired = &result.reports};
  const Pass passes[] = {{"place_quantizers", PlaceQuantizers}, {"fold_quantizers", FoldQuantizers}};
  EXPECT_OK(RunPasses(*graph, passes, options));
  for (const auto& node : graph->nodes()) result.graph += ToText(*node) + "\n";
  return result;
}

constexpr char kNormalized[] = R"(graph g {
  input x: f32[N,5,4]
  const s: f32[4] = random 1 0.5 1
  const w: f32[4,8] = random 2 -1 1
  norm: LayerNormalization(x, s) -> a: f32[?]
  product: MatMul(a, w) -> y: f32[?]
  output y = y
})";

TEST(EqualizationTest, ANormalizationTakesTheFactorsOfWhatReadsIt) {
  const Repaired repaired = Repair(kNormalized, TableOf({"x", "a", "y"}, ChannelAxis::kLast));
  EXPECT_THAT(repaired.graph,
              AllOf(HasSubstr("norm: LayerNormalization(x, s_equalized) -> a_quantized: "),
                    HasSubstr("product: MatMul(a_quantized, w_equalized_s8"), Not(HasSubstr("Quantize"))));
  ASSERT_THAT(repaired.reports, testing::SizeIs(testing::Ge(1)));
  EXPECT_EQ(repaired.reports[0].repair, "equalization");
  EXPECT_EQ(repaired.reports[0].name, "a");
  EXPECT_GT(repaired.reports[0].gain, 2);
}

TEST(EqualizationTest, WhatOthersReadIsMultipliedWhereItIsQuantized) {
  const Repaired repaired = Repair(R"(graph g {
    input x: f32[N,5,4]
    const s: f32[4] = random 1 0.5 1
    const w: f32[4,4] = random 2 -1 1
    norm: LayerNormalization(x, s) -> a: f32[?]
    product: MatMul(a, w) -> b: f32[?]
    sum: Add(a, b) -> y: f32[?]
    output y = y
  })",
                                   TableOf({"x", "a", "b", "y"}, ChannelAxis::kLast));
  EXPECT_THAT(repaired.graph,
              AllOf(HasSubstr("norm: LayerNormalization(x, s) -> a: f32"), HasSubstr("QuantizeLinear(a, "),
                    HasSubstr("a_factors"), HasSubstr("sum: Add(a, b)"), Not(HasSubstr(": Mul("))));
}

TEST(QuantizersTest, AResidualThatMeetsRealNumbersStaysReal) {
  const Repaired repaired = Repair(R"(graph g {
    input x: f32[N,5,4]
    const s: f32[4] = random 1 0.5 1
    const w: f32[4,4] = random 2 -1 1
    norm: LayerNormalization(x, s) -> a: f32[?]
    product: MatMul(a, w, _, a) post add(3) -> b: f32[?]
    next: LayerNormalization(b, s) -> y: f32[?]
    output y = y
  })",
                                   TableOf({"x", "a", "b", "y"}, ChannelAxis::kLast),
                                   {.equalization = false, .bias_correction = false});
  EXPECT_THAT(repaired.graph, AllOf(HasSubstr("MatMul(a_quantized, w_s8, _, a) post add(3) -> b: f32"),
                                    Not(HasSubstr("Dequantize"))));
}

TEST(EqualizationTest, AConvolutionBehindAReluTakesTheFactorsOfTheNext) {
  const Repaired repaired = Repair(R"(graph g {
    input x: f32[N,4,6,6]
    const v: f32[4,4,1,1] = random 1 -1 1
    const w: f32[8,4,3,3] = random 2 -1 1
    first: Conv(x, v) post clip(0,inf) -> a: f32[?]
    second: Conv(a, w) -> y: f32[?]
    output y = y
  })",
                                   TableOf({"x", "a", "y"}, ChannelAxis::kSecond));
  EXPECT_THAT(repaired.graph, AllOf(HasSubstr("first: Conv(x, v_equalized_s8"),
                                    HasSubstr("second: Conv(a_quantized, w_equalized_s8")));
}

TEST(RepairsTest, OptionsLeaveThemOut) {
  EXPECT_THAT(Repair(kNormalized, TableOf({"x", "a", "y"}, ChannelAxis::kLast),
                     {.equalization = false, .bias_correction = false})
                  .reports,
              IsEmpty());
}

TEST(RepairsTest, StatisticsOfAnotherAxisRepairNothing) {
  EXPECT_THAT(Repair(kNormalized, TableOf({"x", "a", "y"}, ChannelAxis::kSecond)).reports, IsEmpty());
}

TEST(BiasCorrectionTest, AProductGetsABiasWhereItsInputHasAMean) {
  CalibrationTable table({});
  for (const char* name : {"x", "a", "y"})
    table.Observe(name, std::vector<float>{1, 1, 1, 1, 1.1f, 1.1f, 1.1f, 1.1f},
                  {.channels = 4, .axis = ChannelAxis::kLast});
  const Repaired repaired = Repair(kNormalized, table, {.equalization = false});
  EXPECT_THAT(repaired.graph, HasSubstr("product_corrected_bias"));
  ASSERT_THAT(repaired.reports, testing::SizeIs(1));
  EXPECT_EQ(repaired.reports[0].repair, "bias_correction");
}

TEST(BiasCorrectionTest, ABiasOfAnotherShapeStays) {
  CalibrationTable table({});
  for (const char* name : {"x", "a", "y"})
    table.Observe(name, std::vector<float>{1, 1, 1, 1, 1.1f, 1.1f, 1.1f, 1.1f}, {.channels = 4});
  for (const char* shape : {"[1]", "[2,8]", "[1,8]"}) {
    const Repaired repaired = Repair(absl::StrCat(R"(graph g {
  input x: f32[2,4]
  const w: f32[4,8] = random 2 -1 1
  const c: f32)",
                                                  shape, R"( = random 3 -1 1
  relu: Relu(x) -> a: f32[?]
  product: Gemm(a, w, c) -> y: f32[?]
  output y = y
})")
                                         .c_str(),
                                     table);
    EXPECT_THAT(repaired.graph, AllOf(HasSubstr("Gemm("), HasSubstr(", c)"))) << shape;
  }
}

}  // namespace
}  // namespace hachi
