#include "engine/graph/graph.h"

#include <gtest/gtest.h>

#include <limits>
#include <string>

#include "absl/strings/str_cat.h"
#include "tests/support/status_matchers.h"

namespace hachi {
namespace {

constexpr char kText[] = R"(graph net {
  input x: f32[N,3,8,8]
  const b: f32[2] = 1 2.5
  const w: f32[2,3,3,3] = random 1 -1 1
  conv1: Conv(x, w, b) {pads=[1,1,1,1], strides=[2,2]} post clip(0,6) -> y: u8[N,2,4,4] channels_last quant(0.5:3)
  "odd name": Reshape(y, _) {alpha=0.5, mode="a\"b"} -> z: f32[2*N+1,floor((N-1)/2)]
  output out = z
}
)";

TEST(GraphTextTest, PrintedTextParsesToTheSameText) {
  auto graph = ParseGraph(kText);
  ASSERT_OK(graph);
  const std::string text = ToText(*graph, /*max_constant_elements=*/100);
  auto again = ParseGraph(text);
  ASSERT_OK(again);
  EXPECT_EQ(ToText(*again, 100), text);
}

TEST(GraphTextTest, ErrorsNameTheLine) {
  EXPECT_THAT(ParseGraph("graph g {\n  input x: f99[1]\n}"),
              StatusIs(absl::StatusCode::kInvalidArgument, testing::HasSubstr("line 2")));
}

TEST(GraphTextTest, NoPrefixOfAGraphCrashesTheParser) {
  for (size_t length = 0; length + 2 < sizeof kText; ++length)
    EXPECT_FALSE(ParseGraph(std::string_view(kText, length)).ok()) << length;
}

TEST(DimTest, EqualExpressionsCompareEqual) {
  const Dim n = Dim::Symbol("N"), m = Dim::Symbol("M");
  EXPECT_EQ((n + 1) * m - m, m * n);
  EXPECT_EQ(Dim::FloorDiv(n * 4, 2), n * 2);
}

TEST(DimTest, TextParsesToTheSameDimension) {
  const Dim dim = Dim::FloorDiv(Dim::Symbol("N") * 3 - 1, 2) * Dim::Symbol("M") + 7;
  auto parsed = Dim::Parse(dim.ToText());
  ASSERT_OK(parsed);
  EXPECT_EQ(*parsed, dim);
}

TEST(DimTest, FloorDivisionRoundsDown) {
  const Dim dim = Dim::FloorDiv(Dim::Symbol("N") - 4, 3);
  EXPECT_THAT(dim.Evaluate({{"N", 2}}), IsOkAndHolds(-1));
  EXPECT_THAT(dim.Evaluate({}), StatusIs(absl::StatusCode::kInvalidArgument));
}

TEST(DimTest, ExpressionsThatGrowBeyondBoundsAreTooComplex) {
  Dim product(1), sum = Dim::Symbol("N"), nested = Dim::Symbol("N");
  for (int i = 0; i < 100; ++i) {
    product = product * (Dim::Symbol(absl::StrCat("d", i)) + 1);
    sum = sum * sum + 1;
    nested = nested + Dim::FloorDiv(nested - 1, 2);
  }
  for (const Dim& dim : {product, sum, nested}) {
    EXPECT_TRUE(dim.is_too_complex());
    EXPECT_TRUE((dim + 1).is_too_complex());
    EXPECT_TRUE((dim * 0).is_too_complex());
    EXPECT_TRUE(Dim::FloorDiv(dim, 3).is_too_complex());
    EXPECT_NE(dim, dim);
    EXPECT_EQ(dim.constant(), std::nullopt);
    EXPECT_EQ(dim.ToText(), "?");
    EXPECT_THAT(dim.Evaluate({{"N", 1}}), StatusIs(absl::StatusCode::kResourceExhausted));
  }
}

TEST(DimTest, TextThatGrowsBeyondBoundsIsRefused) {
  std::string sum = "a0";
  for (int i = 1; i < 200; ++i) absl::StrAppend(&sum, "+a", i);
  EXPECT_THAT(Dim::Parse(sum), StatusIs(absl::StatusCode::kResourceExhausted));
  std::string power = "N";
  for (int i = 0; i < 5000; ++i) power += "*N";
  EXPECT_THAT(Dim::Parse(power), StatusIs(absl::StatusCode::kResourceExhausted));
}

TEST(DimTest, TheLeastNumberReadsBackFromItsText) {
  const Dim least = std::numeric_limits<int64_t>::min();
  for (const Dim& dim : {least, least * Dim::Symbol("N"), Dim::Symbol("N") + least}) {
    const auto parsed = Dim::Parse(dim.ToText());
    ASSERT_OK(parsed);
    EXPECT_EQ(*parsed, dim);
  }
  EXPECT_FALSE(Dim::Parse("9223372036854775808").ok());
  EXPECT_FALSE(Dim::Parse("-92233720368547758080").ok());
}

TEST(DimTest, ArithmeticSaturates) {
  const int64_t most = std::numeric_limits<int64_t>::max(), least = std::numeric_limits<int64_t>::min();
  EXPECT_EQ(Dim(most) + 1, Dim(most));
  EXPECT_EQ(Dim(least) - 1, Dim(least));
  EXPECT_EQ(Dim(least) * -1, Dim(most));
  EXPECT_EQ(Dim(most) * most, Dim(most));
  EXPECT_EQ(Dim(least).ExactQuotient(Dim(-1)), std::nullopt);
  EXPECT_THAT((Dim::Symbol("N") * most).Evaluate({{"N", -2}}), IsOkAndHolds(least));
}

TEST(DimTest, QuotientExistsOnlyWhereItIsExact) {
  const Dim n = Dim::Symbol("N");
  EXPECT_EQ((n * 512).ExactQuotient(n * 64), Dim(8));
  EXPECT_FALSE((n * 512 + 1).ExactQuotient(n).has_value());
}

TEST(DimTest, MentionsSymbolsInProductsAndDivisions) {
  const Dim n = Dim::Symbol("N"), m = Dim::Symbol("M");
  EXPECT_TRUE((n * m + 1).Mentions(m));
  EXPECT_TRUE(Dim::FloorDiv(n - 1, 2).Mentions(n));
  EXPECT_FALSE(Dim::FloorDiv(n - 1, 2).Mentions(m));
}

TEST(DimTest, HugeProductsSaturate) {
  const Dim big = Dim(int64_t{1} << 62) * Dim::Symbol("N");
  EXPECT_THAT(big.Evaluate({{"N", 8}}), IsOkAndHolds(std::numeric_limits<int64_t>::max()));
}

TEST(GraphTest, SortPutsProducersFirst) {
  Graph graph;
  Value* x = graph.AddInput("x", DType::kF32, {1});
  Node* late = graph.AddNode("Relu", "late", {x}, {"late_out"});
  Node* early = graph.AddNode("Relu", "early", {x}, {"early_out"});
  graph.SetInput(late, 0, early->output());
  ASSERT_OK(graph.Sort());
  EXPECT_EQ(graph.NodeList(), (std::vector<Node*>{early, late}));
  ASSERT_OK(graph.Verify());
}

TEST(GraphTest, CycleIsRefused) {
  Graph graph;
  Value* x = graph.AddInput("x", DType::kF32, {1});
  Node* a = graph.AddNode("Relu", "a", {x}, {"a_out"});
  Node* b = graph.AddNode("Relu", "b", {a->output()}, {"b_out"});
  graph.SetInput(a, 0, b->output());
  EXPECT_THAT(graph.Sort(), StatusIs(absl::StatusCode::kInvalidArgument, testing::HasSubstr("cycle")));
}

TEST(GraphTest, DeadNodesAndConstantsGo) {
  auto graph = ParseGraph(
      "graph g { input x: f32[1] const c: f32[1] = 1 a: Add(x, c) -> y: f32[1] b: Relu(x) -> z: f32[1] "
      "output o = z }");
  ASSERT_OK(graph);
  graph->RemoveDead();
  EXPECT_EQ(graph->nodes().size(), 1u);
  EXPECT_EQ(graph->FindValue("c"), nullptr);
}

TEST(GraphTest, CloneIsTheSameGraphAndItsChangesAreItsOwn) {
  auto graph = ParseGraph(R"(graph g {
  input x: f32[N,2]
  const w: f32[2] = 1 2
  a: Add(x, w) -> y: f32[N,2]
  b: Relu(y) -> z: f32[N,2]
  output z = z
}
)");
  ASSERT_OK(graph);
  const std::string before = ToText(*graph);
  Graph clone = graph->Clone();
  EXPECT_OK(clone.Verify());
  EXPECT_EQ(ToText(clone), before);
  clone.SetInput(clone.nodes().back().get(), 0, clone.FindValue("x"));
  clone.RemoveDead();
  EXPECT_EQ(clone.nodes().size(), 1u);
  EXPECT_EQ(ToText(*graph), before);
}

}  // namespace
}  // namespace hachi
