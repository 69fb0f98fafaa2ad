#include "engine/passes/row_independence.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "engine/ops/op.h"
#include "engine/passes/pass.h"
#include "tests/support/status_matchers.h"

namespace hachi {
namespace {

using testing::HasSubstr;

// The axis of each node's output that holds rows, "a:0 y:1", or why the rows of N are not shown to be
// independent.
std::string Prove(std::string_view graph_text) {
  auto graph = ParseGraph(graph_text);
  EXPECT_OK(graph);
  EXPECT_OK(RunPasses(*graph, {}, {}));
  const auto axes = ProveRowsIndependent(*graph, Dim::Symbol("N"));
  if (!axes.ok()) return std::string(axes.status().message());
  std::string text;
  for (const auto& node : graph->nodes())
    if (const auto found = axes->find(node->output()); found != axes->end())
      absl::StrAppend(&text, text.empty() ? "" : " ", node->output()->name, ":", found->second);
  return text;
}

// The same of a graph of these lines that reads x, and gives y.
std::string ProveOf(std::string_view x_type, std::string_view lines) {
  return Prove(absl::StrCat("graph g {\n input x: ", std::string(x_type), "\n", std::string(lines),
                            "\n output y = y\n}"));
}

constexpr char kMean[] = "node 'n' (ReduceMean): computes across axis 0, which holds rows";

TEST(RowIndependenceTest, ElementsKeepTheirRowsAndBroadcastParametersAreEveryones) {
  EXPECT_EQ(
      ProveOf("f32[N,3,4]", "const c: f32[3,1] = 1 2 3\n e: Exp(x) -> a: f32[?]\n n: Add(a, c) -> y: f32[?]"),
      "a:0 y:0");
}

// x[row, column] for each row and column, as transformers read their masks; `tail` picks by rows3 and
// columns3.
std::string ProveMask(const std::string& tail) {
  return ProveOf("f32[N,L]", R"(
  const zero: s64[] = 0
  const one: s64[] = 1
  const i0: s64[1] = 0
  const i1: s64[1] = 1
  const i2: s64[1] = 2
  s: Shape(x) -> s: s64[?]
  gn: Gather(s, zero) -> n: s64[?]
  gl: Gather(s, one) -> l: s64[?]
  rn: Range(zero, n, one) -> rows: s64[?]
  rl: Range(zero, l, one) -> columns: s64[?]
  ur: Unsqueeze(rows, i1) -> rows1: s64[?]
  uc: Unsqueeze(columns, i0) -> columns1: s64[?]
  er: Expand(rows1, s) -> rows2: s64[?]
  ec: Expand(columns1, s) -> columns2: s64[?]
  vr: Unsqueeze(rows2, i2) -> rows3: s64[?]
  vc: Unsqueeze(columns2, i2) -> columns3: s64[?]
  )" + tail);
}

TEST(RowIndependenceTest, RowsPickedByTheirOwnNumberStayApart) {
  EXPECT_THAT(ProveMask("c: Concat(rows3, columns3) {axis=-1} -> i: s64[?]\n n: GatherND(x, i) -> y: f32[?]"),
              testing::EndsWith("y:0"));
  EXPECT_THAT(ProveMask("n: Gather(x, rows) -> y: f32[?]"), testing::EndsWith("y:0"));
}

TEST(RowIndependenceTest, NumbersOfRowsAreGoodForNothingElse) {
  EXPECT_THAT(ProveMask("c: Cast(rows1) {to=1} -> f: f32[?]\n n: Add(x, f) -> y: f32[?]"),
              HasSubstr("node 'n' (Add): computes with the numbers of rows"));
  EXPECT_THAT(ProveMask("c: Concat(columns3, rows3) {axis=-1} -> i: s64[?]\n n: GatherND(x, i) -> y: f32[?]"),
              HasSubstr("picks by the numbers of rows what does not hold them in axis 0"));
}

TEST(RowIndependenceTest, RowsThatMeetInTwoAxesMix) {
  EXPECT_EQ(
      ProveOf("f32[N]", "const s: s64[2] = -1 1\n r: Reshape(x, s) -> a: f32[?]\n n: Sub(a, x) -> y: f32[?]"),
      "node 'n' (Sub): has rows in axes 0 and 1 of its result, expected one axis");
}

TEST(RowIndependenceTest, ReductionsOverOtherAxesKeepRowsApart) {
  EXPECT_EQ(ProveOf("f32[N,3,4]", "const s: s64[1] = -1\n n: ReduceMean(x, s) {keepdims=0} -> y: f32[?]"),
            "y:0");
  EXPECT_EQ(ProveOf("f32[N,4]", "const s: s64[1] = 0\n n: ReduceMean(x, s) -> y: f32[?]"), kMean);
  EXPECT_EQ(ProveOf("f32[N,4]", "n: ReduceMean(x) -> y: f32[?]"), kMean);
}

TEST(RowIndependenceTest, AReducedAxisBeforeTheRowsMovesThem) {
  EXPECT_EQ(ProveOf("f32[N,3,4]", R"(
  const s: s64[1] = 0
  t: Transpose(x) {perm=[1,0,2]} -> a: f32[?]
  n: ReduceMax(a, s) {keepdims=0} -> y: f32[?])"),
            "a:1 y:0");
}

TEST(RowIndependenceTest, SoftmaxOverRowsMixesThem) {
  EXPECT_EQ(ProveOf("f32[N,4]", "n: Softmax(x) -> y: f32[?]"), "y:0");
  EXPECT_THAT(ProveOf("f32[N,4]", "n: Softmax(x) {axis=0} -> y: f32[?]"),
              HasSubstr("'n' (Softmax): computes"));
}

TEST(RowIndependenceTest, LayerNormalizationBehindTheRowsKeepsThemApart) {
  const std::string lines = "const s: f32[4] = splat 1\n n: LayerNormalization(x, s) {axis=";
  EXPECT_EQ(ProveOf("f32[N,4]", lines + "-1} -> y: f32[?]"), "y:0");
  EXPECT_THAT(ProveOf("f32[N,4]", lines + "0} -> y: f32[?]"), HasSubstr("computes across axis 0"));
}

TEST(RowIndependenceTest, TheNumberOfRowsIsNoNumberToComputeWith) {
  EXPECT_EQ(ProveOf("f32[N,4]", R"(
  const zero: s64[] = 0
  shape: Shape(x) -> s: s64[?]
  first: Gather(s, zero) -> count: s64[?]
  cast: Cast(count) {to=1} -> real: f32[?]
  n: Mul(x, real) -> y: f32[?])"),
            "node 'n' (Mul): computes with 'real', which depends on the number of rows");
}

TEST(RowIndependenceTest, OtherDimensionsAreNumbersLikeAnyOther) {
  EXPECT_EQ(ProveOf("f32[N,T]", R"(
  const one: s64[] = 1
  shape: Shape(x) -> s: s64[?]
  second: Gather(s, one) -> length: s64[?]
  cast: Cast(length) {to=1} -> real: f32[?]
  n: Div(x, real) -> y: f32[?])"),
            "y:0");
}

TEST(RowIndependenceTest, TheNumberOfRowsMayBeADimension) {
  EXPECT_EQ(ProveOf("f32[N,2,6]", R"(
  const zero: s64[1] = 0
  const rest: s64[2] = 3 4
  shape: Shape(x) -> s: s64[?]
  first: Gather(s, zero) -> count: s64[?]
  join: Concat(count, rest) -> dims: s64[?]
  n: Reshape(x, dims) -> y: f32[?])"),
            "y:0");
}

TEST(RowIndependenceTest, RowsMayBeFoldedIntoAnAxisAndBack) {
  EXPECT_EQ(ProveOf("f32[N,T,6]", R"(
  const flat: s64[2] = -1 6
  const w: f32[6,6] = splat 1
  shape: Shape(x) -> s: s64[?]
  fold: Reshape(x, flat) -> a: f32[?]
  product: Gemm(a, w) -> b: f32[?]
  back: Reshape(b, s) -> y: f32[?])"),
            "a:0 b:0 y:0");
}

TEST(RowIndependenceTest, HeadsMayBeSplitBehindRowsInAnyAxis) {
  EXPECT_EQ(ProveOf("f32[N,5,6]", R"(
  const heads: s64[4] = 0 0 2 3
  const joined: s64[3] = 0 0 6
  t: Transpose(x) {perm=[1,0,2]} -> a: f32[?]
  split: Reshape(a, heads) -> b: f32[?]
  join: Reshape(b, joined) -> c: f32[?]
  back: Transpose(c) {perm=[1,0,2]} -> y: f32[?])"),
            "a:1 b:1 c:1 y:0");
}

TEST(RowIndependenceTest, ReshapeThatScattersRowsIsRefused) {
  EXPECT_EQ(ProveOf("f32[N,4]", "const s: s64[2] = 4 -1\n n: Reshape(x, s) -> y: f32[?]"),
            "node 'n' (Reshape): makes [4,N] of [N,4], where rows of axis 0 do not stay together");
  // [length, batch, channel] folded: the rows take turns.
  EXPECT_THAT(ProveOf("f32[N,5,6]", R"(
  const s: s64[2] = -1 6
  t: Transpose(x) {perm=[1,0,2]} -> a: f32[?]
  n: Reshape(a, s) -> y: f32[?])"),
              HasSubstr("makes [5*N,6] of [5,N,6]"));
}

TEST(RowIndependenceTest, FlattenKeepsRowsInFront) {
  EXPECT_EQ(ProveOf("f32[N,2,3]", "n: Flatten(x) -> y: f32[?]"), "y:0");
  EXPECT_THAT(ProveOf("f32[N,2,3]", "n: Flatten(x) {axis=0} -> y: f32[?]"),
              HasSubstr("output 'y' has shape [1,6*N]"));
}

TEST(RowIndependenceTest, AxesOfOneComeAndGo) {
  EXPECT_EQ(ProveOf("f32[N,3]",
                    "const s: s64[1] = 0\n u: Unsqueeze(x, s) -> a: f32[?]\n n: Squeeze(a, s) -> y: f32[?]"),
            "a:1 y:0");
}

TEST(RowIndependenceTest, OutputsThatDoNotBeginWithRowsAreRefused) {
  EXPECT_EQ(ProveOf("f32[N,3]", "n: Transpose(x) -> y: f32[?]"),
            "output 'y' has shape [3,N], expected N rows in its first dimension");
  EXPECT_THAT(ProveOf("f32[N,3]", "n: Concat(x, x) {axis=0} -> y: f32[?]"), HasSubstr("across axis 0"));
}

TEST(RowIndependenceTest, AnOutputThatIsTheSameForEveryRowIsRefused) {
  EXPECT_EQ(ProveOf("f32[N,3]", "const c: f32[2,3] = splat 1\n n: Exp(c) -> y: f32[?]"),
            "output 'y' has shape [2,3], expected N rows in its first dimension");
}

TEST(RowIndependenceTest, ProductsKeepRowsThatAreNotSummedOver) {
  EXPECT_EQ(ProveOf("f32[N,5,4]", R"(
  const w: f32[4,4] = splat 1
  t: Transpose(x) {perm=[0,2,1]} -> a: f32[?]
  square: MatMul(x, a) -> b: f32[?]
  values: MatMul(b, x) -> c: f32[?]
  n: MatMul(c, w) -> y: f32[?])"),
            "a:0 b:0 c:0 y:0");
}

TEST(RowIndependenceTest, ProductsOfRowsWithEachOtherMix) {
  EXPECT_EQ(ProveOf("f32[N,4]", "t: Transpose(x) -> a: f32[?]\n n: MatMul(x, a) -> y: f32[?]"),
            "node 'n' (MatMul): has rows in axes 0 and 1 of its result, expected one axis");
  EXPECT_EQ(ProveOf("f32[N,4]", "t: Transpose(x) -> a: f32[?]\n n: MatMul(a, x) -> y: f32[?]"),
            "node 'n' (MatMul): computes across axis 1, which holds rows");
  EXPECT_EQ(ProveOf("f32[N]", "n: MatMul(x, x) -> y: f32[?]"),
            "node 'n' (MatMul): computes across axis 0, which holds rows");
}

TEST(RowIndependenceTest, RowsMayBeTheColumnsOfTheRightOperand) {
  EXPECT_EQ(ProveOf("f32[N,4]", R"(
  const w: f32[3,4] = splat 1
  t: Transpose(x) -> a: f32[?]
  product: MatMul(w, a) -> b: f32[?]
  n: Transpose(b) -> y: f32[?])"),
            "a:1 b:1 y:0");
}

TEST(RowIndependenceTest, ProductWithAVectorDropsItsAxisBehindTheRows) {
  EXPECT_EQ(ProveOf("f32[N,5,4]", "const v: f32[4] = splat 1\n n: MatMul(x, v) -> y: f32[?]"), "y:0");
}

TEST(RowIndependenceTest, GemmSumsOverOneAxisOfEachOperand) {
  EXPECT_EQ(ProveOf("f32[N,4]", "const w: f32[3,4] = splat 1\n n: Gemm(x, w) {transB=1} -> y: f32[?]"),
            "y:0");
  EXPECT_EQ(ProveOf("f32[N,4]", "n: Gemm(x, x) {transA=1} -> y: f32[?]"),
            "node 'n' (Gemm): computes across axis 0, which holds rows");
  EXPECT_THAT(ProveOf("f32[N,4]", "n: Gemm(x, x) {transB=1} -> y: f32[?]"),
              HasSubstr("rows in axes 0 and 1"));
}

TEST(RowIndependenceTest, ConvolutionsAndPoolsHaveTheirBatchInFront) {
  EXPECT_EQ(ProveOf("f32[N,2,4,4]", R"(
  const w: f32[2,2,3,3] = splat 1
  conv: Conv(x, w) -> a: f32[?]
  pool: MaxPool(a) {kernel_shape=[2,2]} -> b: f32[?]
  n: GlobalAveragePool(b) -> y: f32[?])"),
            "a:0 b:0 y:0");
  EXPECT_THAT(ProveOf("f32[N,2,4]",
                      "t: Transpose(x) {perm=[1,0,2]} -> a: f32[?]\n"
                      "n: GlobalAveragePool(a) -> y: f32[?]"),
              HasSubstr("'n' (GlobalAveragePool): computes across axis 1"));
}

TEST(RowIndependenceTest, ParametersMadeOfRowsAreRefused) {
  EXPECT_EQ(ProveOf("f32[N]", R"(
  const s: s64[1] = 0
  u: Unsqueeze(x, s) -> a: f32[?]
  n: LayerNormalization(a, x) -> y: f32[?])"),
            "node 'n' (LayerNormalization): input 1 ('x') holds rows, expected the same for every row");
}

TEST(RowIndependenceTest, ConcatBesideTheRowsKeepsThem) {
  EXPECT_EQ(ProveOf("f32[N,3]", "n: Concat(x, x) {axis=1} -> y: f32[?]"), "y:0");
}

TEST(RowIndependenceTest, GatherPicksByRowsOrBehindThem) {
  EXPECT_EQ(ProveOf("s64[N,5]", "const table: f32[9,4] = splat 1\n n: Gather(table, x) -> y: f32[?]"), "y:0");
  EXPECT_EQ(ProveOf("f32[N,5,4]", "const i: s64[] = 0\n n: Gather(x, i) {axis=1} -> y: f32[?]"), "y:0");
  EXPECT_EQ(ProveOf("f32[N,5]", "const i: s64[] = 0\n n: Gather(x, i) {axis=0} -> y: f32[?]"),
            "node 'n' (Gather): computes across axis 0, which holds rows");
}

TEST(RowIndependenceTest, RowsBehindAGatheredAxisMove) {
  EXPECT_EQ(ProveOf("f32[N,5]", R"(
  const i: s64[] = 0
  t: Transpose(x) -> a: f32[?]
  n: Gather(a, i) -> y: f32[?])"),
            "a:1 y:0");
}

TEST(RowIndependenceTest, SlicesTakeAllRowsAsTheyStand) {
  const std::string lines = "const b: s64[2] = 0 1\n const e: s64[2] = 2147483647 3\n";
  EXPECT_EQ(ProveOf("f32[N,5]", lines + "n: Slice(x, b, e) -> y: f32[?]"), "y:0");
  EXPECT_EQ(ProveOf("f32[N,5]",
                    "const b: s64[1] = 1\n const e: s64[1] = 2147483647\n n: Slice(x, b, e) -> y: f32[?]"),
            "node 'n' (Slice): computes across axis 0, which holds rows");
}

TEST(RowIndependenceTest, ASliceWhoseEndIsTheNumberOfRowsIsRefused) {
  EXPECT_EQ(ProveOf("f32[N,5]", R"(
  const zero: s64[1] = 0
  const one: s64[1] = 1
  shape: Shape(x) -> s: s64[?]
  first: Gather(s, zero) -> count: s64[?]
  n: Slice(x, zero, count, one) -> y: f32[?])"),
            "node 'n' (Slice): computes with 'count', which depends on the number of rows");
}

TEST(RowIndependenceTest, WhatIsExpandedToRowsIsTheSameInEach) {
  EXPECT_EQ(ProveOf("f32[N,3]", R"(
  const token: f32[1,3] = 1 2 3
  shape: Shape(x) -> s: s64[?]
  expand: Expand(token, s) -> a: f32[?]
  fill: ConstantOfShape(s) -> b: f32[?]
  sum: Add(a, b) -> c: f32[?]
  n: Sub(x, c) -> y: f32[?])"),
            "a:0 b:0 c:0 y:0");
}

TEST(RowIndependenceTest, AnInputWithoutRowsInFrontIsRefused) {
  EXPECT_EQ(Prove(R"(graph g {
  input x: f32[N,3]
  input t: f32[]
  n: Mul(x, t) -> y: f32[?]
  output y = y
})"),
            "input 't' has shape [], expected N rows in its first dimension");
  EXPECT_THAT(ProveOf("f32[5,N,3]", "n: Exp(x) -> y: f32[?]"), HasSubstr("input 'x' has shape [5,N,3]"));
  EXPECT_EQ(ProveOf("f32[N,N]", "n: Exp(x) -> y: f32[?]"),
            "input 'x': 'x' has shape [N,N], expected N in axis 0 alone");
}

TEST(RowIndependenceTest, AFixedBatchIsNoSymbol) {
  EXPECT_THAT(ProveOf("f32[1,3]", "n: Exp(x) -> y: f32[?]"),
              HasSubstr("expected N rows in its first dimension"));
}

TEST(RowIndependenceTest, EveryOperatorSaysHowItTreatsRows) {
  for (const OpDef* op : AllOps())
    EXPECT_EQ(op->rows == nullptr, op->name == "Shape" || op->name == "Size") << op->name;
}

// The inputs' shapes once they share the symbol of rows.
std::string Shared(std::string_view inputs) {
  auto graph = ParseGraph(absl::StrCat("graph g {\n", std::string(inputs), "\n output x = x\n}"));
  EXPECT_OK(graph);
  ShareRowsSymbol(*graph);
  std::string text;
  for (const Value* input : graph->inputs()) absl::StrAppend(&text, ShapeText(*input->dims));
  return text;
}

TEST(ShareRowsSymbolTest, FirstDimensionsTakeTheFirstInputsNameWhereverTheyStand) {
  EXPECT_EQ(Shared("input x: f32[N,3]\n input m: f32[batch,T]\n input p: f32[2,batch]"), "[N,3][N,T][2,N]");
}

TEST(ShareRowsSymbolTest, FixedDimensionsAndScalarsStay) {
  EXPECT_EQ(Shared("input t: f32[]\n input x: f32[4,T]\n input z: f32[B,T]"), "[][4,T][B,T]");
}

}  // namespace
}  // namespace hachi
