#include "engine/passes/passes.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "absl/strings/str_cat.h"
#include "engine/passes/infer_graph.h"
#include "tests/passes/pass_tester.h"

namespace hachi {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

TEST(RemoveIdentitiesTest, WhatDoesNothingIsGone) {
  EXPECT_EQ(RunOne(RemoveIdentities, R"(graph g {
  input x: f32[N,4]
  i: Identity(x) -> a: f32[?]
  d: Dropout(a) -> b: f32[?]
  c: Cast(b) {to=1} -> e: f32[?]
  r: Relu(e) -> y: f32[?]
  output y = y
})"),
            "r: Relu(x) -> y: f32[N,4]\n");
}

TEST(RemoveIdentitiesTest, MaskThatIsReadKeepsItsDropout) {
  EXPECT_THAT(RunOne(RemoveIdentities, R"(graph g {
  input x: f32[2]
  d: Dropout(x) -> a: f32[?], mask: bool[?]
  output y = mask
})"),
              HasSubstr("Dropout"));
}

TEST(FoldConstantsTest, ConstantsAndKnownShapesAreComputed) {
  EXPECT_EQ(RunOne(FoldConstants, R"(graph g {
  input x: f32[2,3]
  const a: f32[3] = 1 2 3
  add: Add(a, a) -> b: f32[?]
  shape: Shape(x) -> s: s64[?]
  reshape: Reshape(x, s) -> z: f32[?]
  mul: Mul(z, b) -> y: f32[?]
  output y = y
})"),
            "reshape: Reshape(x, s_folded) -> z: f32[2,3]\n"
            "mul: Mul(z, b_folded) -> y: f32[2,3]\n");
}

TEST(FoldConstantsTest, IntegersOfAScaleStayRealNumbersToTheirReaders) {
  auto graph = ParseGraph(R"(graph g {
  const x: f32[2] = 0 1
  const s: f32[] = 0.5
  const z: u8[] = 10
  quantize: QuantizeLinear(x, s, z) -> q: u8[?]
  function: Sin(q) -> y: f32[?]
  output y = y
})");
  ASSERT_OK(graph.status());
  const Pass pass{"fold", FoldConstants};
  ASSERT_OK(RunPasses(*graph, {&pass, 1}, {}));
  EXPECT_THAT(graph->outputs()[0].value->constant->As<float>(),
              ElementsAre(0.0f, testing::FloatEq(std::sin(1.0f))));
}

TEST(FoldConstantsTest, AResizedTableOfPositionsIsComputed) {
  EXPECT_EQ(RunOne(FoldConstants, R"(graph g {
  const table: f32[1,384,37,37] = random 1 -1 1
  const sizes: s64[4] = 1 384 16 16
  resize: Resize(table, _, _, sizes) {mode="cubic"} -> positions: f32[?]
  relu: Relu(positions) -> y: f32[?]
  output y = y
})"),
            "");
}

// The integers behind the constant that the last node reads as input `i`, after constants were folded.
std::shared_ptr<const ConstantIntegers> IntegersBehind(std::string_view text, size_t i = 1) {
  auto graph = ParseGraph(text);
  EXPECT_OK(graph.status());
  EXPECT_OK(InferGraph(*graph));
  EXPECT_OK(FoldConstants(*graph, {}));
  return graph->nodes().back()->inputs[i]->integers;
}

TEST(FoldConstantsTest, DequantizedWeightsRememberTheirIntegers) {
  const auto integers = IntegersBehind(R"(graph g {
  input x: f32[N,2]
  const w: u8[2,3] = 127 128 130 1 255 128
  const s: f32[3] = 0.5 0.25 2
  const z: u8[3] = 128 128 130
  d: DequantizeLinear(w, s, z) {axis=1} -> r: f32[?]
  m: MatMul(x, r) -> y: f32[?]
  output y = y
})");
  ASSERT_NE(integers, nullptr);
  EXPECT_THAT(integers->values.As<int8_t>(), ElementsAre(-1, 0, 0, -127, 127, -2));
  EXPECT_EQ(integers->params, (QuantParams{{0.5f, 0.25f, 2.0f}, {0, 0, 0}, 1}));
}

TEST(FoldConstantsTest, TransposedWeightsTakeTheirIntegersAlong) {
  const auto integers = IntegersBehind(R"(graph g {
  input x: f32[N,2]
  const w: s8[3,2] = 1 2 3 4 5 6
  const s: f32[3] = 0.5 0.25 2
  d: DequantizeLinear(w, s) {axis=0} -> r: f32[?]
  t: Transpose(r) {perm=[1,0]} -> u: f32[?]
  m: MatMul(x, u) -> y: f32[?]
  output y = y
})");
  ASSERT_NE(integers, nullptr);
  EXPECT_THAT(integers->values.As<int8_t>(), ElementsAre(1, 3, 5, 2, 4, 6));
  EXPECT_EQ(integers->params.axis, 1);
}

TEST(FoldConstantsTest, IntegersBeyondBytesAreForgotten) {
  EXPECT_EQ(IntegersBehind(R"(graph g {
  input x: f32[N,2]
  const w: u8[2,1] = 0 255
  const s: f32[] = 0.5
  const z: u8[] = 100
  d: DequantizeLinear(w, s, z) -> r: f32[?]
  m: MatMul(x, r) -> y: f32[?]
  output y = y
})"),
            nullptr);
}

constexpr char kNormalized[] = R"(graph g {
  input x: f32[1,1,1,2]
  const w: f32[2,1,1,1] = 3 5
  const b: f32[2] = 1 -1
  const gamma: f32[2] = 2 4
  const beta: f32[2] = 0.5 0.25
  const mean: f32[2] = 0 1
  const variance: f32[2] = 3 0
  conv: Conv(x, w, b) -> c: f32[?]
  bn: BatchNormalization(c, gamma, beta, mean, variance) {epsilon=1.0} -> y: f32[?]
  output y = y
})";

TEST(FoldBatchNormalizationTest, WeightsAndBiasTakeTheNormalization) {
  auto graph = ParseGraph(kNormalized);
  ASSERT_OK(graph);
  const Pass pass{"fold", FoldBatchNormalization};
  ASSERT_OK(RunPasses(*graph, {&pass, 1}, {}));
  ASSERT_EQ(graph->nodes().size(), 1);
  const Node& conv = *graph->nodes().front();
  EXPECT_EQ(conv.output()->name, "y");
  const auto weights = conv.inputs[1]->constant->As<float>(), bias = conv.inputs[2]->constant->As<float>();
  // factors 2 / sqrt(3 + 1) and 4 / sqrt(0 + 1)
  EXPECT_THAT(std::vector(weights.begin(), weights.end()), testing::ElementsAre(3.0f, 20.0f));
  EXPECT_THAT(std::vector(bias.begin(), bias.end()), testing::ElementsAre(1.5f, -7.75f));
}

TEST(FoldBatchNormalizationTest, ConvolutionWithAnotherReaderKeepsItsWeights) {
  std::string text(kNormalized);
  text.insert(text.find("output"), "r: Relu(c) -> z: f32[?]\n  output z = z\n  ");
  EXPECT_THAT(RunOne(FoldBatchNormalization, text), HasSubstr("BatchNormalization"));
}

TEST(FuseBiasTest, VectorBehindAProductBecomesItsBias) {
  EXPECT_EQ(RunOne(FuseBias, R"(graph g {
  input x: f32[N,2,3]
  const w: f32[3,4] = splat 1
  const b: f32[4] = splat 2
  m: MatMul(x, w) -> a: f32[?]
  add: Add(b, a) -> y: f32[?]
  output y = y
})"),
            "m: MatMul(x, w, b) -> y: f32[N,2,4]\n");
}

TEST(FuseBiasTest, NumbersBehindAConvolutionAddToItsBias) {
  auto graph = ParseGraph(R"(graph g {
  input x: f32[N,1,3,3]
  const w: f32[2,1,1,1] = splat 1
  const b: f32[2] = 1 2
  const number: f32[1] = 4
  const channels: f32[1,2,1,1] = 10 20
  conv: Conv(x, w, b) -> a: f32[?]
  one: Add(a, number) -> c: f32[?]
  each: Add(channels, c) -> y: f32[?]
  output y = y
})");
  ASSERT_OK(graph.status());
  const Pass pass{"fuse", FuseBias};
  ASSERT_OK(RunPasses(*graph, {&pass, 1}, {}));
  ASSERT_EQ(graph->nodes().size(), 1);
  EXPECT_THAT(graph->nodes().front()->inputs[2]->constant->As<float>(), ElementsAre(15.0f, 26.0f));
}

TEST(FuseBiasTest, WhatIsAddedAlongAnotherAxisStays) {
  for (const char* shape : {"[3]", "[2,1]", "[1,1,2,1]", "[2,1,1,1]"})
    EXPECT_THAT(RunOne(FuseBias, absl::StrCat(R"(graph g {
  input x: f32[1,1,2,3]
  const w: f32[2,1,1,1] = splat 1
  const b: f32)",
                                              shape, R"( = splat 4
  conv: Conv(x, w) -> a: f32[?]
  add: Add(a, b) -> y: f32[?]
  output y = y
})")),
                HasSubstr("Add"))
        << shape;
}

// Layer normalization as PyTorch writes it; `pieces` are the square and what follows the deviation.
std::string LayerNormText(std::string_view pieces) {
  return absl::StrCat(R"(graph g {
  input x: f32[N,5,4]
  const axes: s64[1] = -1
  const epsilon: f32[] = 0.00001
  const two: f32[] = 2
  const one: f32[] = 1
  const gamma: f32[4] = 1 2 3 4
  const beta: f32[4] = 4 3 2 1
  mean: ReduceMean(x, axes) -> m: f32[?]
  centre: Sub(x, m) -> d: f32[?]
)",
                      std::string(pieces), R"(
  output y = y
})");
}

TEST(FuseLayerNormTest, WhatPyTorchWritesIsOneNode) {
  EXPECT_EQ(RunOne(FuseLayerNorm, LayerNormText(R"(
  square: Pow(d, two) -> q: f32[?]
  variance: ReduceMean(q, axes) -> v: f32[?]
  add: Add(v, epsilon) -> e: f32[?]
  root: Sqrt(e) -> s: f32[?]
  div: Div(d, s) -> n: f32[?]
  scale: Mul(n, gamma) -> g: f32[?]
  shift: Add(g, beta) -> y: f32[?])")),
            "shift: LayerNormalization(x, gamma, beta) {axis=2, epsilon=1e-05} -> y: f32[N,5,4]\n");
}

TEST(FuseLayerNormTest, OperandsMayStandInEitherOrderAndTheDifferenceTwice) {
  EXPECT_EQ(RunOne(FuseLayerNorm, LayerNormText(R"(
  again: Sub(x, m) -> c: f32[?]
  square: Mul(c, c) -> q: f32[?]
  variance: ReduceMean(q, axes) -> v: f32[?]
  add: Add(epsilon, v) -> e: f32[?]
  root: Sqrt(e) -> s: f32[?]
  div: Div(d, s) -> n: f32[?]
  scale: Mul(gamma, n) -> g: f32[?]
  shift: Add(beta, g) -> y: f32[?])")),
            "shift: LayerNormalization(x, gamma, beta) {axis=2, epsilon=1e-05} -> y: f32[N,5,4]\n");
}

TEST(FuseLayerNormTest, WhatTensorFlowWritesIsOneNode) {
  for (const char* inverse : {"Reciprocal(s)", "Div(one, s)"})
    EXPECT_EQ(RunOne(FuseLayerNorm, LayerNormText(absl::StrCat(R"(
  square: Mul(d, d) -> q: f32[?]
  variance: ReduceMean(q, axes) -> v: f32[?]
  add: Add(v, epsilon) -> e: f32[?]
  root: Sqrt(e) -> s: f32[?]
  inverse: )",
                                                               inverse, R"( -> r: f32[?]
  factor: Mul(r, gamma) -> f: f32[?]
  scaled: Mul(x, f) -> a: f32[?]
  shift: Mul(m, f) -> b: f32[?]
  rest: Sub(beta, b) -> c: f32[?]
  sum: Add(a, c) -> y: f32[?])"))),
              "sum: LayerNormalization(x, gamma, beta) {axis=2, epsilon=1e-05} -> y: f32[N,5,4]\n")
        << inverse;
}

TEST(FuseLayerNormTest, ScaleAndBiasMayBeMissing) {
  EXPECT_EQ(RunOne(FuseLayerNorm, LayerNormText(R"(
  square: Pow(d, two) -> q: f32[?]
  variance: ReduceMean(q, axes) -> v: f32[?]
  add: Add(v, epsilon) -> e: f32[?]
  root: Sqrt(e) -> s: f32[?]
  div: Div(d, s) -> n: f32[?]
  next: Relu(n) -> y: f32[?])")),
            "div: LayerNormalization(x, div_scale) {axis=2, epsilon=1e-05} -> n: f32[N,5,4]\n"
            "next: Relu(n) -> y: f32[N,5,4]\n");
}

TEST(FuseLayerNormTest, OtherAxesOrAnotherMeanAreLeftAlone) {
  std::string text = LayerNormText(R"(
  square: Pow(d, two) -> q: f32[?]
  variance: ReduceMean(q, axes) -> v: f32[?]
  add: Add(v, epsilon) -> e: f32[?]
  root: Sqrt(e) -> s: f32[?]
  div: Div(d, s) -> y: f32[?])");
  std::string middle = text, other = text;
  middle.replace(middle.find("= -1"), 4, "= 1");
  EXPECT_THAT(RunOne(FuseLayerNorm, middle), testing::Not(HasSubstr("LayerNormalization")));
  other.replace(other.find("div: Div(d, s)"), 14, "div: Div(x, s)");
  EXPECT_THAT(RunOne(FuseLayerNorm, other), testing::Not(HasSubstr("LayerNormalization")));
}

TEST(FuseGeluTest, ErfFormIsOneNodeInAnyOrder) {
  for (const char* scaled : {"Div(x, root)", "Mul(x, inverse)", "Mul(inverse, x)"})
    for (const char* rest : {"p: Mul(x, o) -> h: f32[?]\n last: Mul(h, half) -> y: f32[?]",
                             "p: Mul(o, x) -> h: f32[?]\n last: Div(h, two) -> y: f32[?]",
                             "h: Mul(half, x) -> h: f32[?]\n last: Mul(h, o) -> y: f32[?]",
                             "h: Mul(o, half) -> h: f32[?]\n last: Mul(x, h) -> y: f32[?]"})
      EXPECT_EQ(RunOne(FuseGelu, absl::StrCat(R"(graph g {
  input x: f32[N,4]
  const root: f32[] = 1.4142135
  const inverse: f32[] = 0.70710678
  const one: f32[] = 1
  const half: f32[] = 0.5
  const two: f32[] = 2
  a: )",
                                              scaled, R"( -> a: f32[?]
  e: Erf(a) -> e: f32[?]
  o: Add(e, one) -> o: f32[?]
  )",
                                              rest, "\n output y = y\n}")),
                "last: Gelu(x) -> y: f32[N,4]\n")
          << scaled << rest;
}

TEST(FuseGeluTest, AnotherFactorIsLeftAlone) {
  EXPECT_THAT(RunOne(FuseGelu, R"(graph g {
  input x: f32[N,4]
  const root: f32[] = 1.4142135
  const one: f32[] = 1
  const half: f32[] = 0.6
  a: Div(x, root) -> a: f32[?]
  e: Erf(a) -> e: f32[?]
  o: Add(e, one) -> o: f32[?]
  h: Mul(x, o) -> h: f32[?]
  last: Mul(h, half) -> y: f32[?]
  output y = y
})"),
              HasSubstr("Erf"));
}

TEST(FoldScalesTest, WeightsAndBiasTakeTheScale) {
  auto graph = ParseGraph(R"(graph g {
  input x: f32[N,2]
  const w: f32[2,2] = 1 2 3 4
  const b: f32[2] = 6 8
  const s: f32[] = 2
  m: MatMul(x, w, b) -> a: f32[?]
  div: Div(a, s) -> y: f32[?]
  output y = y
})");
  ASSERT_OK(graph);
  const Pass pass{"fold", FoldScales};
  ASSERT_OK(RunPasses(*graph, {&pass, 1}, {}));
  ASSERT_EQ(graph->nodes().size(), 1);
  const Node& product = *graph->nodes().front();
  EXPECT_EQ(ToText(product), "m: MatMul(x, m_weights, m_bias) -> y: f32[N,2]");
  EXPECT_THAT(product.inputs[1]->constant->As<float>(), testing::ElementsAre(0.5f, 1.0f, 1.5f, 2.0f));
  EXPECT_THAT(product.inputs[2]->constant->As<float>(), testing::ElementsAre(3.0f, 4.0f));
}

TEST(FoldScalesTest, ProductOfComputedOperandsIsScaledAsItIsStored) {
  EXPECT_EQ(RunOne(FoldScales, R"(graph g {
  input x: f32[N,2,3]
  input z: f32[N,3,2]
  const s: f32[] = 8
  m: MatMul(x, z) -> a: f32[?]
  div: Div(a, s) -> y: f32[?]
  output y = y
})"),
            "m: MatMul(x, z) post linear(0.125,0) -> y: f32[N,2,2]\n");
}

TEST(FoldScalesTest, WeightsTakeAFactorForEachChannel) {
  auto graph = ParseGraph(R"(graph g {
  input x: f32[N,1,3,3]
  const w: f32[2,1,1,1] = 1 2
  const b: f32[2] = 5 6
  const s: f32[1,2,1,1] = 10 100
  conv: Conv(x, w, b) -> a: f32[?]
  scale: Mul(s, a) -> y: f32[?]
  output y = y
})");
  ASSERT_OK(graph.status());
  const Pass pass{"fold", FoldScales};
  ASSERT_OK(RunPasses(*graph, {&pass, 1}, {}));
  ASSERT_EQ(graph->nodes().size(), 1);
  const Node& conv = *graph->nodes().front();
  EXPECT_THAT(conv.inputs[1]->constant->As<float>(), ElementsAre(10.0f, 200.0f));
  EXPECT_THAT(conv.inputs[2]->constant->As<float>(), ElementsAre(50.0f, 600.0f));
}

TEST(FoldScalesTest, FactorsAlongAnotherAxisStay) {
  EXPECT_THAT(RunOne(FoldScales, R"(graph g {
  input x: f32[N,1,3,2]
  const w: f32[2,1,1,1] = 1 2
  const s: f32[2] = 10 100
  conv: Conv(x, w) -> a: f32[?]
  scale: Mul(s, a) -> y: f32[?]
  output y = y
})"),
              HasSubstr("Mul(s, a)"));
}

TEST(FoldScalesTest, SharedWeightsStayAsTheyAre) {
  EXPECT_THAT(RunOne(FoldScales, R"(graph g {
  input x: f32[N,2]
  const w: f32[2,2] = 1 2 3 4
  const s: f32[] = 2
  m: MatMul(x, w) -> a: f32[?]
  n: MatMul(x, w) -> b: f32[?]
  scaled: Mul(a, s) -> y: f32[?]
  output y = y
  output b = b
})"),
              HasSubstr("Mul(a, s)"));
}

TEST(FoldScalesTest, IntegersOfWeightsKeepTheirValuesAndTakeTheFactorIntoTheirScales) {
  auto graph = ParseGraph(R"(graph g {
  input x: f32[N,2]
  const w: s8[2,2] = 1 2 3 4
  const ws: f32[] = 0.5
  const s: f32[] = -2
  d: DequantizeLinear(w, ws) -> r: f32[?]
  m: MatMul(x, r) -> a: f32[?]
  scaled: Mul(a, s) -> y: f32[?]
  output y = y
})");
  ASSERT_OK(graph.status());
  for (const auto pass : {FoldConstants, FoldScales}) {
    ASSERT_OK(InferGraph(*graph));
    ASSERT_OK(pass(*graph, {}));
  }
  const auto& integers = graph->nodes().back()->inputs[1]->integers;
  ASSERT_NE(integers, nullptr);
  EXPECT_THAT(integers->values.As<int8_t>(), ElementsAre(-1, -2, -3, -4));
  EXPECT_EQ(integers->params.scale(), 1.0f);
}

TEST(FusePostOpsTest, ActivationsAndResidualsFollowTheirConvolution) {
  EXPECT_EQ(RunOne(FusePostOps, R"(graph g {
  input x: f32[N,4,3,3]
  const w: f32[4,4,1,1] = splat 1
  const low: f32[] = 0
  const high: f32[] = 6
  first: Conv(x, w) -> a: f32[?]
  clip: Clip(a, low, high) -> b: f32[?]
  second: Conv(b, w) -> c: f32[?]
  add: Add(x, c) -> d: f32[?]
  relu: Relu(d) -> y: f32[?]
  output y = y
})"),
            "first: Conv(x, w) post clip(0,6) -> b: f32[N,4,3,3]\n"
            "second: Conv(b, w, _, x) post add(3) clip(0,inf) -> y: f32[N,4,3,3]\n");
}

TEST(FusePostOpsTest, LaterOfTwoConvolutionsTakesTheAddition) {
  EXPECT_EQ(RunOne(FusePostOps, R"(graph g {
  input x: f32[N,4,3,3]
  const w: f32[4,4,1,1] = splat 1
  main: Conv(x, w) -> a: f32[?]
  shortcut: Conv(x, w) -> b: f32[?]
  add: Add(a, b) -> y: f32[?]
  output y = y
})"),
            "main: Conv(x, w) -> a: f32[N,4,3,3]\n"
            "shortcut: Conv(x, w, _, a) post add(3) -> y: f32[N,4,3,3]\n");
}

TEST(FusePostOpsTest, ArithmeticWithOneNumberFollowsAProductsActivation) {
  EXPECT_EQ(RunOne(FusePostOps, R"(graph g {
  input x: f32[N,4,3,3]
  const w: f32[4,4,1,1] = splat 1
  const half: f32[1] = 0.5
  const three: f32[] = 3
  conv: Conv(x, w) -> a: f32[?]
  act: HardSwish(a) -> b: f32[?]
  scale: Mul(half, b) -> c: f32[?]
  shift: Sub(three, c) -> d: f32[?]
  relu: Relu(d) -> y: f32[?]
  output y = y
})"),
            "conv: Conv(x, w) post hard_swish() linear(-0.5,3) clip(0,inf) -> y: f32[N,4,3,3]\n");
}

TEST(FusePostOpsTest, ResidualBehindArithmeticStaysANode) {
  EXPECT_THAT(RunOne(FusePostOps, R"(graph g {
  input x: f32[N,4,3,3]
  const w: f32[4,4,1,1] = splat 1
  const half: f32[] = 0.5
  conv: Conv(x, w) -> a: f32[?]
  act: HardSwish(a) -> b: f32[?]
  scale: Mul(b, half) -> c: f32[?]
  add: Add(c, x) -> y: f32[?]
  output y = y
})"),
              HasSubstr("Add(c, x)"));
}

TEST(FusePostOpsTest, ValueWithTwoReadersIsStoredAsItIs) {
  EXPECT_THAT(RunOne(FusePostOps, R"(graph g {
  input x: f32[N,4,3,3]
  const w: f32[4,4,1,1] = splat 1
  conv: Conv(x, w) -> a: f32[?]
  relu: Relu(a) -> y: f32[?]
  output y = y
  output a = a
})"),
              HasSubstr("Relu"));
}

TEST(AssignLayoutsTest, ConvolutionsAreChannelsLastAndInputsComeSo) {
  EXPECT_EQ(RunOne(AssignLayouts, R"(graph g {
  input x: f32[N,4,3,3]
  const w: f32[4,4,1,1] = splat 1
  conv: Conv(x, w) -> a: f32[?]
  relu: Relu(a) -> b: f32[?]
  average: GlobalAveragePool(b) -> c: f32[?]
  flatten: Flatten(c) -> d: f32[?]
  other: Flatten(a) -> e: f32[?]
  output d = d
  output e = e
})"),
            "conv: Conv(x, w) -> a: f32[N,4,3,3] channels_last\n"
            "relu: Relu(a) -> b: f32[N,4,3,3] channels_last\n"
            "average: GlobalAveragePool(b) -> c: f32[N,4,1,1] channels_last\n"
            "flatten: Flatten(c) -> d: f32[N,4]\n"
            "a_rows: Reorder(a) -> a_rows: f32[N,4,3,3]\n"
            "other: Flatten(a_rows) -> e: f32[N,36]\n");
}

// A table that saw the values -1 to 1 (or 0 to 1, where `positive` lists them) of these tensors.
CalibrationTable TableOf(const std::vector<std::string>& names,
                         const std::vector<std::string>& positive = {}) {
  CalibrationTable table({});
  for (const std::string& name : names) {
    std::vector<float> values;
    for (int i = -100; i <= 100; ++i)
      values.push_back(std::ranges::count(positive, name) ? std::abs(static_cast<float>(i)) / 100
                                                          : static_cast<float>(i) / 100);
    table.Observe(name, values, {1, static_cast<int64_t>(values.size())});
  }
  return table;
}

constexpr char kNetwork[] = R"(graph g {
  input x: f32[N,2,4,4]
  const w: f32[2,2,1,1] = 1 0 0 0.5
  const m: f32[2,3] = splat 1
  conv: Conv(x, w) post clip(0,inf) -> a: f32[?]
  pool: MaxPool(a) {kernel_shape=[2,2], strides=[2,2]} -> b: f32[?]
  next: Conv(b, w) -> c: f32[?]
  average: GlobalAveragePool(c) -> d: f32[?]
  flatten: Flatten(d) -> e: f32[?]
  gemm: Gemm(e, m) -> f: f32[?]
  softmax: Softmax(f) -> y: f32[?]
  output y = y
})";

std::string Quantize(const CalibrationTable& table, std::map<std::string, Precision> pins = {}) {
  auto graph = ParseGraph(kNetwork);
  EXPECT_OK(graph);
  const Pass passes[] = {{"place_quantizers", PlaceQuantizers}, {"fold_quantizers", FoldQuantizers}};
  const absl::Status status = RunPasses(
      *graph, passes, {.table = &table, .range_method = RangeMethod::kMinMax, .pins = std::move(pins)});
  if (!status.ok()) return status.ToString();
  std::string text;
  for (const auto& node : graph->nodes()) text += ToText(*node) + "\n";
  return text;
}

const std::vector<std::string> kTensors = {"x", "a", "b", "c", "d", "e", "f", "y"};

TEST(FuseActivationsTest, TheLargerOfANumberIsABound) {
  for (const char* node : {"Max(x, c)", "Max(c, x)"})
    EXPECT_EQ(RunOne(FuseActivations,
                     absl::StrCat("graph g { input x: f32[N,4] const c: f32[1,1] = -0.4\n m: ", node,
                                  " -> y: f32[?] output y = y }")),
              "m: Clip(x, m_bound) -> y: f32[N,4]\n");
  EXPECT_EQ(RunOne(FuseActivations,
                   "graph g { input x: f32[N,4] const c: f32[] = 6\n m: Min(x, c) -> y: f32[?] "
                   "output y = y }"),
            "m: Clip(x, _, m_bound) -> y: f32[N,4]\n");
  EXPECT_EQ(RunOne(FuseActivations,
                   "graph g { input x: f32[4] const c: f32[1,1] = 6\n m: Min(x, c) -> y: f32[?] "
                   "output y = y }"),
            "m: Min(x, c) -> y: f32[1,4]\n");
}

TEST(PassRunnerTest, APassReportsWhatItChangedUnlessItIsSkipped) {
  constexpr char kIdentity[] =
      "graph g { input x: f32[N] i: Identity(x) -> a: f32[?] r: Relu(a) -> y: f32[?] output y = y }";
  std::vector<PassReport> reports;
  PassOptions options{.report_changes = true,
                      .on_pass = [&](const PassReport& report) { reports.push_back(report); }};
  auto graph = ParseGraph(kIdentity);
  ASSERT_OK(RunPasses(*graph, PreparePasses(), options));
  ASSERT_EQ(reports.size(), PreparePasses().size());
  EXPECT_EQ(reports[0].pass, "remove_identities");
  EXPECT_THAT(reports[0].changes, testing::Contains("- i: Identity(x) -> a: f32[N]"));
  EXPECT_THAT(reports[1].changes, testing::IsEmpty());

  options.skip = {"remove_identities"};
  graph = ParseGraph(kIdentity);
  ASSERT_OK(RunPasses(*graph, PreparePasses(), options));
  EXPECT_EQ(graph->nodes().size(), 2);
}

TEST(PassRunnerTest, UnknownNamesAreRefused) {
  EXPECT_OK(CheckPassNames({"fold_constants", "fold_quantizers"}));
  EXPECT_THAT(CheckPassNames({"fold"}), StatusIs(absl::StatusCode::kInvalidArgument));
}

TEST(QuantizersTest, IntegersRunFromTheInputToTheLastProductAndPoolsKeepTheirScale) {
  EXPECT_EQ(Quantize(TableOf(kTensors, {"a", "b"})),
            "conv: Conv(x, w_s8) post clip(0,inf) -> a_quantized: u8[N,2,4,4] quant(0.003921569:0)\n"
            "pool: MaxPool(a_quantized) {kernel_shape=[2,2], strides=[2,2]} -> b: u8[N,2,2,2] "
            "quant(0.003921569:0)\n"
            "next: Conv(b, w_s8_2) -> c_quantized: s8[N,2,2,2] quant(0.007874016:0)\n"
            "average: GlobalAveragePool(c_quantized) -> d_quantized: s8[N,2,1,1] quant(0.007874016:0)\n"
            "flatten: Flatten(d_quantized) -> e: s8[N,2] quant(0.007874016:0)\n"
            "gemm: Gemm(e, m_s8) -> f: f32[N,3]\n"
            "softmax: Softmax(f) -> y: f32[N,3]\n");
}

TEST(QuantizersTest, WhatDepthwiseConvolutionsReadHasAScaleForEachChannel) {
  CalibrationTable table({});
  const std::vector<float> unequal{0, 10.2f, 0, 1.02f}, equal{-1, 1, -1, 1};  // of two channels
  for (const char* name : {"x", "b"}) table.Observe(name, equal, {2, 2});
  table.Observe("a", unequal, {2, 2});
  PassOptions options{.table = &table};
  EXPECT_EQ(
      RunAll({PlaceQuantizers, FoldQuantizers}, R"(graph g {
  input x: f32[N,2,4,4]
  const w: f32[2,2,1,1] = 1 0 0 0.5
  const d: f32[2,1,1,1] = 1 0.5
  conv: Conv(x, w) post clip(0,inf) -> a: f32[?]
  depthwise: Conv(a, d) {group=2} -> b: f32[?]
  soft: Softmax(b) -> y: f32[?]
  output y = y
})",
             options),
      "conv: Conv(x, w_s8) post clip(0,inf) -> a_quantized: u8[N,2,4,4] quant(axis=1,0.04:0,0.0039999997:0)\n"
      "depthwise: Conv(a_quantized, d_s8) {group=2} -> b: f32[N,2,4,4]\n"
      "soft: Softmax(b) -> y: f32[N,2,4,4]\n");
}

TEST(QuantizersTest, PinnedNodeRunsInFp32BetweenQuantizers) {
  const std::string text = Quantize(TableOf(kTensors, {"a", "b"}), {{"ne*t", Precision::kFp32}});
  EXPECT_THAT(text, HasSubstr("conv: Conv(x, w_s8) post clip(0,inf) -> a: f32"));
  EXPECT_THAT(text, HasSubstr("next: Conv(b, w) -> c: f32"));
  EXPECT_THAT(text, HasSubstr("gemm: Gemm(e_quantized, m_s8)"));
}

TEST(QuantizersTest, PinThatMatchesNothingIsRefused) {
  EXPECT_THAT(Quantize(TableOf(kTensors), {{"conv7", Precision::kFp32}}),
              HasSubstr("'conv7' matches no node"));
}

TEST(QuantizersTest, CommentedLineKeepsItsReadersInFp32) {
  std::string text = TableOf(kTensors, {"a", "b"}).ToText();
  text.insert(text.find("\nx ") + 1, "#");
  text.replace(text.find("model: "), 7, "model: " + std::string(64, '0'));
  auto table = CalibrationTable::Parse(text);
  ASSERT_OK(table);
  const std::string quantized = Quantize(*table);
  EXPECT_THAT(quantized, HasSubstr("conv: Conv(x, w) post"));
  EXPECT_THAT(quantized, HasSubstr("next: Conv(b_quantized"));
  EXPECT_THAT(Quantize(*table, {{"conv", Precision::kInt8}}), HasSubstr("conv: Conv(x, w_s8)"));
}

TEST(QuantizersTest, TensorThatTheTableLacksIsAnError) {
  EXPECT_THAT(Quantize(TableOf({"x", "a", "b"})), HasSubstr("tensor 'c': not found"));
}

TEST(QuantizersTest, TensorWithInfinitiesStaysFp32) {
  CalibrationTable table = TableOf(kTensors, {"a", "b"});
  table.Observe("e", std::vector{INFINITY}, {1, 1});
  table.Observe("d", std::vector{INFINITY}, {1, 1});
  EXPECT_THAT(Quantize(table), HasSubstr("gemm: Gemm(e, m) -> f: f32"));
}

TEST(QuantizersTest, ResidualIsAddedInIntegersToo) {
  auto graph = ParseGraph(R"(graph g {
  input x: f32[N,2,4,4]
  const w: f32[2,2,1,1] = 1 0 0 0.5
  first: Conv(x, w, _, x) post add(3) clip(0,inf) -> a: f32[?]
  second: Conv(a, w) -> y: f32[?]
  output y = y
})");
  ASSERT_OK(graph);
  const CalibrationTable table = TableOf({"x", "a"}, {"a"});
  const Pass passes[] = {{"place_quantizers", PlaceQuantizers}, {"fold_quantizers", FoldQuantizers}};
  ASSERT_OK(RunPasses(*graph, passes, {.table = &table, .range_method = RangeMethod::kMinMax}));
  EXPECT_EQ(
      ToText(*graph->nodes().front()),
      "first: Conv(x, w_s8, _, x) post add(3) clip(0,inf) -> a_quantized: u8[N,2,4,4] quant(0.003921569:0)");
}

TEST(QuantizersTest, WithoutSignedActivationsZeroPointsMoveToTheMiddle) {
  auto graph = ParseGraph(kNetwork);
  ASSERT_OK(graph);
  const CalibrationTable table = TableOf(kTensors, {"a", "b"});
  const Pass pass{"place_quantizers", PlaceQuantizers};
  const Pass fold{"fold_quantizers", FoldQuantizers};
  const Pass passes[] = {pass, fold};
  ASSERT_OK(RunPasses(*graph, passes,
                      {.table = &table, .range_method = RangeMethod::kMinMax, .signed_activations = false}));
  EXPECT_EQ(graph->inputs()[0]->dtype, DType::kU8);
  EXPECT_EQ(graph->inputs()[0]->quant->zero_point(), 128);
}

TEST(QuantizersTest, LayerNormalizationStoresTheIntegersThatItsReadersWant) {
  const CalibrationTable table = TableOf({"x", "a", "n", "y"});
  auto graph = ParseGraph(R"(graph g {
  input x: f32[N,4]
  const w: f32[4,4] = random 1 -1 1
  const s: f32[4] = 1 2 3 4
  first: MatMul(x, w) -> a: f32[?]
  norm: LayerNormalization(a, s) -> n: f32[?]
  second: MatMul(n, w) -> y: f32[?]
  output y = y
})");
  ASSERT_OK(graph);
  const Pass passes[] = {{"place_quantizers", PlaceQuantizers}, {"fold_quantizers", FoldQuantizers}};
  ASSERT_OK(RunPasses(*graph, passes, {.table = &table, .range_method = RangeMethod::kMinMax}));
  std::string text;
  for (const auto& node : graph->nodes()) text += ToText(*node) + "\n";
  // What it reads stays FP32.
  EXPECT_EQ(text,
            "first: MatMul(x, w_s8) -> a: f32[N,4]\n"
            "norm: LayerNormalization(a, s) -> n_quantized: s8[N,4] quant(0.007874016:0)\n"
            "second: MatMul(n_quantized, w_s8_2) -> y: f32[N,4]\n");
}

// The nodes after quantization of a graph whose tensors held -1 to 1.
std::string QuantizeText(std::string_view graph_text, const std::vector<std::string>& tensors) {
  auto graph = ParseGraph(graph_text);
  EXPECT_OK(graph);
  const CalibrationTable table = TableOf(tensors);
  const Pass passes[] = {{"place_quantizers", PlaceQuantizers}, {"fold_quantizers", FoldQuantizers}};
  const absl::Status status =
      RunPasses(*graph, passes, {.table = &table, .range_method = RangeMethod::kMinMax});
  if (!status.ok()) return status.ToString();
  std::string text;
  for (const auto& node : graph->nodes()) text += ToText(*node) + "\n";
  return text;
}

TEST(QuantizersTest, Fp32ReaderMayStandBeforeTheFirstInt8Reader) {
  // Squeeze-and-excite: the squeeze reads first.
  EXPECT_EQ(
      QuantizeText(R"(graph g {
  input x: f32[N,2,4,4]
  const w: f32[2,2,1,1] = 1 0 0 0.5
  const axes: s64[2] = 2 3
  conv: Conv(x, w) -> a: f32[?]
  squeeze: ReduceMean(a, axes) -> s: f32[?]
  gate: Sigmoid(s) -> g: f32[?]
  scaled: Mul(a, g) -> m: f32[?]
  next: Conv(a, w) -> n: f32[?]
  sum: Sub(n, m) -> y: f32[?]
  output y = y
})",
                   {"x", "a", "s", "g", "m", "n"}),
      "conv: Conv(x, w_s8) -> a_quantized: s8[N,2,4,4] quant(0.007874016:0)\n"
      "a_dequantized: DequantizeLinear(a_quantized, a_scale, a_zero_point) -> a_dequantized: f32[N,2,4,4]\n"
      "squeeze: ReduceMean(a_dequantized, axes) -> s: f32[N,2,1,1]\n"
      "gate: Sigmoid(s) -> g: f32[N,2,1,1]\n"
      "scaled: Mul(a_dequantized, g) -> m: f32[N,2,4,4]\n"
      "next: Conv(a_quantized, w_s8_2) -> n: f32[N,2,4,4]\n"
      "sum: Sub(n, m) -> y: f32[N,2,4,4]\n");
}

TEST(QuantizersTest, Fp32ReaderOfAnInputMayStandBeforeItsFirstInt8Reader) {
  EXPECT_EQ(QuantizeText(R"(graph g {
  input x: f32[N,2]
  const w: f32[2,2] = 1 0 0 0.5
  soft: Softmax(x) -> s: f32[?]
  product: MatMul(x, w) -> p: f32[?]
  sum: Sub(p, s) -> y: f32[?]
  output y = y
})",
                         {"x", "p", "s"}),
            "x_dequantized: DequantizeLinear(x, x_scale, x_zero_point) -> x_dequantized: f32[N,2]\n"
            "soft: Softmax(x_dequantized) -> s: f32[N,2]\n"
            "product: MatMul(x, w_s8) -> p: f32[N,2]\n"
            "sum: Sub(p, s) -> y: f32[N,2]\n");
}

TEST(QuantizersTest, ReaderOfTheShapeAloneNeedsNoRealNumbers) {
  EXPECT_EQ(QuantizeText(R"(graph g {
  input x: f32[N,2,4]
  const w: f32[4,4] = random 1 -1 1
  shape: Shape(x) -> s: s64[?]
  product: MatMul(x, w) -> p: f32[?]
  reshape: Reshape(p, s) -> y: f32[?]
  output y = y
})",
                         {"x", "p"}),
            "shape: Shape(x) -> s: s64[3]\n"
            "product: MatMul(x, w_s8) -> p: f32[N,2,4]\n"
            "reshape: Reshape(p, s) -> y: f32[N,2,4]\n");
}

TEST(QuantizersTest, WhatAModelQuantizedItselfRunsOnItsIntegers) {
  EXPECT_EQ(RunAll({FoldConstants, PlaceQuantizers, FoldQuantizers}, R"(graph g {
  input x: f32[N,4]
  const qs: f32[] = 0.5
  const qz: u8[] = 7
  const w: u8[4,2] = 128 127 126 125 124 123 122 121
  const ws: f32[2] = 0.25 0.125
  const wz: u8[2] = 128 128
  const b: s32[2] = 5 -5
  const bs: f32[2] = 0.125 0.0625
  from: QuantizeLinear(x, qs, qz) -> q: u8[?]
  real: DequantizeLinear(q, qs, qz) -> r: f32[?]
  weights: DequantizeLinear(w, ws, wz) {axis=1} -> wr: f32[?]
  bias: DequantizeLinear(b, bs) {axis=0} -> br: f32[?]
  product: MatMul(r, wr, br) -> p: f32[?]
  to: QuantizeLinear(p, qs, qz) -> m: u8[?]
  last: DequantizeLinear(m, qs, qz) -> y: f32[?]
  output y = y
})"),
            "product: MatMul(x, wr_folded, br_folded) -> m: u8[N,2] quant(0.5:7)\n"
            "last: DequantizeLinear(m, qs, qz) -> y: f32[N,2]\n");
}

TEST(QuantizersTest, AMoveToAnotherScaleMovesIntegersAndRescalesThem) {
  EXPECT_EQ(RunOne(FoldQuantizers, R"(graph g {
  input x: u8[N,4] quant(0.5:7)
  const qs: f32[] = 0.5
  const qz: u8[] = 7
  const ts: f32[] = 0.25
  real: DequantizeLinear(x, qs, qz) -> r: f32[?]
  move: Transpose(r) {perm=[1,0]} -> t: f32[?]
  to: QuantizeLinear(t, ts, qz) -> y: u8[?]
  output y = y
})"),
            "move: Transpose(x) {perm=[1,0]} -> t: u8[4,N] quant(0.5:7)\n"
            "to: QuantizeLinear(t, ts, qz) -> y: u8[4,N] quant(0.25:7)\n");
}

TEST(QuantizersTest, LayerNormalizationReadsTheIntegersThatAModelGivesIt) {
  EXPECT_EQ(RunOne(FoldQuantizers, R"(graph g {
  input x: f32[N,4]
  const qs: f32[] = 0.5
  const qz: u8[] = 7
  const s: f32[4] = 1 2 3 4
  from: QuantizeLinear(x, qs, qz) -> q: u8[?]
  real: DequantizeLinear(q, qs, qz) -> r: f32[?]
  norm: LayerNormalization(r, s) -> n: f32[?]
  to: QuantizeLinear(n, qs, qz) -> m: u8[?]
  last: DequantizeLinear(m, qs, qz) -> y: f32[?]
  output y = y
})"),
            "norm: LayerNormalization(x, s) -> m: u8[N,4] quant(0.5:7)\n"
            "last: DequantizeLinear(m, qs, qz) -> y: f32[N,4]\n");
}

TEST(PipelineTest, ErrorsNameThePassAndTheNode) {
  EXPECT_THAT(RunOne(FoldConstants, R"(graph g {
  input x: f32[2]
  n: NoSuchOperator(x) -> y: f32[?]
  output y = y
})"),
              HasSubstr("node 'n': operator 'NoSuchOperator' is not supported"));
}

TEST(SimplifyGemmTest, FactorsGoIntoConstants) {
  EXPECT_EQ(RunOne(SimplifyGemm, R"(graph g {
  input x: f32[N,2]
  const w: f32[2,2] = 1 2 3 4
  input c: f32[2]
  n: Gemm(x, w, c) {alpha=0.5, beta=2.0} -> y: f32[?]
  output y = y
})"),
            "n/Mul: Mul(c, c_beta_factor) -> n/Mul: f32[2]\nn: Gemm(x, w_alpha, n/Mul) -> y: f32[N,2]\n");
}

TEST(SimplifyGemmTest, ComputedMatricesAreMultiplied) {
  EXPECT_EQ(RunOne(SimplifyGemm, R"(graph g {
  input a: f32[3,N]
  input b: f32[4,3]
  n: Gemm(a, b) {transA=1, transB=1} -> y: f32[?]
  output y = y
})"),
            "n/Transpose: Transpose(a) {perm=[1,0]} -> n/Transpose: f32[N,3]\n"
            "n/Transpose_2: Transpose(b) {perm=[1,0]} -> n/Transpose_2: f32[3,4]\n"
            "n/MatMul: MatMul(n/Transpose, n/Transpose_2) -> n/MatMul: f32[N,4]\n");
}

TEST(DecomposeEinsumTest, AttentionBecomesProductsOfMatrices) {
  EXPECT_EQ(RunOne(DecomposeEinsum, R"(graph g {
  input q: f32[N,L,2,4]
  input k: f32[N,L,2,4]
  n: Einsum(q, k) {equation="bqhd,bkhd->bhqk"} -> y: f32[?]
  output y = y
})")
                .substr(0, 60),
            "n/Transpose: Transpose(q) {perm=[0,2,1,3]} -> n/Transpose: f");
}

std::string Activation(const char* nodes) {
  const std::string text =
      RunOne(FuseActivations, std::string("graph g {\n  input x: f32[N,4]\n") + nodes + "  output y = y\n}");
  return text.substr(0, text.find(" ->"));
}

TEST(FuseActivationsTest, FormsOfExportersAreRecognised) {
  EXPECT_EQ(Activation("  s: Sigmoid(x) -> s: f32[?]\n  m: Mul(x, s) -> y: f32[?]\n"), "m: Swish(x)");
  EXPECT_EQ(Activation("  const c: f32[] = 1.702\n  k: Mul(x, c) -> k: f32[?]\n  s: Sigmoid(k) -> s: f32[?]\n"
                       "  m: Mul(s, x) -> y: f32[?]\n"),
            "m: Swish(x) {alpha=1.702}");
  EXPECT_EQ(Activation("  h: HardSigmoid(x) {alpha=0.16666667} -> h: f32[?]\n  m: Mul(x, h) -> y: f32[?]\n"),
            "m: HardSwish(x)");
  EXPECT_EQ(Activation("  const three: f32[] = 3\n  const zero: f32[] = 0\n  const six: f32[] = 6\n"
                       "  a: Add(x, three) -> a: f32[?]\n  c: Clip(a, zero, six) -> c: f32[?]\n"
                       "  m: Mul(x, c) -> m: f32[?]\n  d: Div(m, six) -> y: f32[?]\n"),
            "d: HardSwish(x)");
  EXPECT_EQ(
      Activation("  p: Softplus(x) -> p: f32[?]\n  t: Tanh(p) -> t: f32[?]\n  m: Mul(x, t) -> y: f32[?]\n"),
      "m: Mish(x)");
  EXPECT_EQ(
      Activation("  const three: f32[] = 3\n  const c: f32[] = 0.044715\n  const r: f32[] = 0.7978846\n"
                 "  const one: f32[] = 1\n  const half: f32[] = 0.5\n  p: Pow(x, three) -> p: f32[?]\n"
                 "  q: Mul(p, c) -> q: f32[?]\n  a: Add(x, q) -> a: f32[?]\n  b: Mul(a, r) -> b: f32[?]\n"
                 "  t: Tanh(b) -> t: f32[?]\n  g: Add(t, one) -> g: f32[?]\n  h: Mul(x, half) -> h: f32[?]\n"
                 "  m: Mul(h, g) -> y: f32[?]\n"),
      "m: Gelu(x) {approximate=\"tanh\"}");
}

TEST(FuseActivationsTest, GeluByTanhIsOneNodeInAnyOrder) {
  for (const char* cube :
       {"  p: Pow(x, three) -> p: f32[?]\n  q: Mul(p, c) -> q: f32[?]\n",
        "  o: Mul(c, x) -> o: f32[?]\n  p: Mul(x, o) -> p: f32[?]\n  q: Mul(x, p) -> q: f32[?]\n"})
    for (const char* halved : {"  h: Mul(x, half) -> h: f32[?]\n  m: Mul(h, g) -> y: f32[?]\n",
                               "  h: Mul(half, g) -> h: f32[?]\n  m: Mul(x, h) -> y: f32[?]\n",
                               "  h: Mul(g, x) -> h: f32[?]\n  m: Mul(h, half) -> y: f32[?]\n"})
      for (const char* x : {"  x: Relu(in) -> x: f32[?]\n", "  x: Mul(in, in) -> x: f32[?]\n",
                            "  x: Mul(in, half) -> x: f32[?]\n"})
        EXPECT_THAT(
            RunOne(
                FuseActivations,
                absl::StrCat("graph g {\n  input in: f32[N,4]\n  const three: f32[] = 3\n  const c: f32[] = "
                             "0.044715\n  const r: f32[] = 0.7978846\n  const one: f32[] = 1\n  const half: "
                             "f32[] = 0.5\n",
                             x, cube,
                             "  a: Add(x, q) -> a: f32[?]\n  b: Mul(a, r) -> b: f32[?]\n  t: Tanh(b) -> t: "
                             "f32[?]\n  g: Add(t, one) -> g: f32[?]\n",
                             halved, "  output y = y\n}")),
            testing::EndsWith("m: Gelu(x) {approximate=\"tanh\"} -> y: f32[N,4]\n"))
            << x << cube << halved;
}

TEST(FuseActivationsTest, ALongChainOfFactorsIsNotFollowed) {
  constexpr int kLength = 20000;
  for (const char* op : {"Mul", "Div"}) {
    std::string text = "graph g {\n  input x0: f32[N]\n  const c: f32[] = 2\n";
    for (int i = 0; i < kLength; ++i)
      absl::StrAppend(&text, "  n", i, ": ", op, "(x", i, ", c) -> x", i + 1, ": f32[?]\n");
    auto graph = ParseGraph(absl::StrCat(text, "  output y = x", kLength, "\n}"));
    ASSERT_OK(graph.status());
    ASSERT_OK(InferGraph(*graph));
    EXPECT_OK(FuseActivations(*graph, {}));
    EXPECT_EQ(graph->nodes().size(), kLength);
  }
}

TEST(FuseActivationsTest, AGateOfAnotherTensorStays) {
  EXPECT_EQ(
      Activation("  n: Neg(x) -> n: f32[?]\n  s: Sigmoid(n) -> s: f32[?]\n  m: Mul(x, s) -> y: f32[?]\n"),
      "n: Neg(x)");
}

TEST(FoldPadsTest, WindowsTakePadsThatFillAsTheyDo) {
  const auto window = [](const char* pad, const char* node) {
    const std::string text = RunOne(
        FoldPads,
        absl::StrCat("graph g {\n  input x: f32[N,2,8,8]\n  const p: s64[8] = 0 0 1 2 0 0 3 4\n"
                     "  const w: f32[2,2,3,3] = splat 1\n  const low: f32[] = -3.4028235e38\n  pad: Pad(x, p",
                     pad, ") -> a: f32[?]\n  n: ", node, " -> y: f32[?]\n  output y = y\n}"));
    return text.substr(0, text.find(" ->"));
  };
  EXPECT_EQ(window("", "Conv(a, w) {pads=[1,1,1,1]}"), "n: Conv(x, w) {pads=[2,3,4,5]}");
  EXPECT_EQ(window("", "Conv(a, w) {auto_pad=\"VALID\"}"), "n: Conv(x, w) {pads=[1,2,3,4]}");
  EXPECT_EQ(window(", low", "MaxPool(a) {kernel_shape=[2,2]}"),
            "n: MaxPool(x) {kernel_shape=[2,2], pads=[1,2,3,4]}");
  EXPECT_THAT(window("", "MaxPool(a) {kernel_shape=[2,2]}"), testing::StartsWith("pad: Pad"));
  EXPECT_THAT(window(", low", "Conv(a, w)"), testing::StartsWith("pad: Pad"));
}

TEST(FoldBatchNormalizationTest, TransposedConvolutionsTakeItInTheirGroups) {
  auto graph = ParseGraph(R"(graph g {
  input x: f32[1,2,1,1]
  const w: f32[2,1,1,1] = 1 1
  const s: f32[2] = 2 3
  const z: f32[2] = 0 0
  const v: f32[2] = 1 1
  c: ConvTranspose(x, w) {group=2} -> c: f32[?]
  b: BatchNormalization(c, s, z, z, v) {epsilon=0.0} -> y: f32[?]
  output y = y
})");
  ASSERT_OK(graph);
  const Pass pass{"tested", FoldBatchNormalization};
  ASSERT_OK(RunPasses(*graph, {&pass, 1}, {}));
  EXPECT_THAT(graph->nodes().front()->inputs[1]->constant->As<float>(), testing::ElementsAre(2, 3));
}

}  // namespace
}  // namespace hachi
