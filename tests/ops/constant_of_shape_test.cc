#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "engine/graph/graph.h"
#include "engine/ops/op.h"
#include "tests/ops/op_tester.h"
#include "tests/support/status_matchers.h"

namespace hachi {
namespace {

TEST(ConstantOfShapeTest, IsZeroUnlessAValueIsGiven) {
  const auto zeros =
      RunReferences("graph g { const s: s64[2] = 2 3\n c: ConstantOfShape(s) -> y: f32[2,3] }");
  ASSERT_OK(zeros.status());
  EXPECT_THAT((*zeros)[0].As<float>(), testing::Each(0.0f));

  auto graph = ParseGraph("graph g { const s: s64[1] = 3\n c: ConstantOfShape(s) -> y: f32[?] }");
  ASSERT_OK(graph.status());
  Node& node = *graph->nodes().front();
  node.attrs["value"] = std::make_shared<const Tensor>(Tensor::Of<int64_t>({1}, {7}));
  ASSERT_OK(InferNode(node));
  EXPECT_EQ(node.output()->content, (SymbolicShape{7, 7, 7}));
  const TensorView shape = node.inputs[0]->constant->view();
  const auto sevens = RunReference(node, std::span(&shape, 1), Bindings{});
  ASSERT_OK(sevens.status());
  EXPECT_THAT((*sevens)[0].As<int64_t>(), testing::ElementsAre(7, 7, 7));
}

TEST(ConstantOfShapeTest, TheShapeMayBeSymbolic) {
  EXPECT_THAT(
      InferText(
          "graph g { input x: f32[N,3]\n s: Shape(x) -> d: s64[?]\n c: ConstantOfShape(d) -> y: f32[?] }"),
      IsOkAndHolds("y: f32[N,3]"));
}

TEST(ConstantOfShapeTest, ContradictionsAreRefused) {
  using testing::HasSubstr;
  EXPECT_THAT(InferText("graph g { const s: s64[1] = -3\n c: ConstantOfShape(s) -> y: f32[?] }"),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("expected no negative dimension")));
  EXPECT_THAT(InferText("graph g { const s: s64[1] = 3\n c: ConstantOfShape(s) {value=3} -> y: f32[?] }"),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("'value' is no tensor of one element")));
}

TEST(ConstantOfShapeTest, IsFilledByAKernel) {
  EXPECT_OK(RunOpCase({.graph = "graph g { const s: s64[2] = 2 3\n n: ConstantOfShape(s) -> y: f32[2,3] }",
                       .kernel = "hachi_fill",
                       .reference_allocates = "it makes the value that is meant by none"}));
}

}  // namespace
}  // namespace hachi
