#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <numeric>

#include "engine/engine.h"
#include "tests/onnx/model_builder.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temp_dir.h"

namespace hachi {
namespace {

using absl::StatusCode;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

absl::StatusOr<std::unique_ptr<Model>> Load(const ModelBuilder& builder) {
  const TempDir directory;
  return LoadModel({.name = "m", .model = directory.Write("model.onnx", builder.Bytes())});
}

template <typename T>
struct Answer {
  std::vector<int64_t> shape;
  std::vector<T> elements;
};

// More elements than those that are taken for settings, which models are compiled for.
constexpr size_t kMany = 70;

// The first output, which is measured, for one f32 input of that shape; zeros follow `x`.
template <typename T>
absl::StatusOr<Answer<T>> AnswerOf(const Model& model, const std::vector<int64_t>& shape,
                                   std::vector<float> x) {
  x.resize(static_cast<size_t>(std::accumulate(shape.begin(), shape.end(), int64_t{1}, std::multiplies<>())));
  std::vector<MeasuredOutput> outputs;
  Rows request{.count = 1, .inputs = {{std::as_bytes(std::span(x))}}, .measured = &outputs};
  ASSIGN_OR_RETURN(request.shapes, model.ShapesOf(std::vector<std::vector<int64_t>>{shape}, {}));
  RETURN_IF_ERROR(model.MakePlans(*request.shapes->plans, 1));
  EXPECT_TRUE(request.shapes->measured);
  const auto context = NewRunContext();
  RETURN_IF_ERROR(model.Run(*context, {&request, 1}).status());
  Answer<T> answer{.shape = outputs[0].shape, .elements = {}};
  const auto* elements = reinterpret_cast<const T*>(outputs[0].bytes.data());
  answer.elements.assign(elements, elements + outputs[0].bytes.size() / sizeof(T));
  return answer;
}

// Where relu(x) is not zero, and how much stands there, doubled.
ModelBuilder Positives() {
  ModelBuilder builder;
  builder.Input("x", {"N"});
  builder.Output("y");
  builder.Node("Relu", {"x"}, {"r"});
  builder.Node("NonZero", {"r"}, {"n"});
  builder.Node("Transpose", {"n"}, {"t"});
  builder.Node("GatherND", {"r", "t"}, {"g"});
  builder.Node("Add", {"g", "g"}, {"y"});
  return builder;
}

TEST(StagedModelTest, AnAnswerHasAsManyElementsAsARunFinds) {
  const auto model = Load(Positives());
  ASSERT_OK(model);
  const auto two = AnswerOf<float>(**model, {4}, {1, -1, 3, 0});
  ASSERT_OK(two);
  EXPECT_THAT(two->shape, ElementsAre(2));
  EXPECT_THAT(two->elements, ElementsAre(2, 6));
  const auto three = AnswerOf<float>(**model, {4}, {1, 2, 3, 0});
  ASSERT_OK(three);
  EXPECT_THAT(three->elements, ElementsAre(2, 4, 6));
}

TEST(StagedModelTest, NothingFoundIsAnEmptyAnswer) {
  const auto model = Load(Positives());
  ASSERT_OK(model);
  const auto none = AnswerOf<float>(**model, {2}, {-1, -2});
  ASSERT_OK(none);
  EXPECT_THAT(none->shape, ElementsAre(0));
  EXPECT_THAT(none->elements, IsEmpty());
}

TEST(StagedModelTest, WhatIsFoundMayBeSearchedAgain) {
  ModelBuilder builder;
  builder.Input("x", {"70"});
  builder.Floats("three", {1}, {3});
  builder.Output("y");
  builder.proto.mutable_graph()->mutable_output(0)->mutable_type()->mutable_tensor_type()->set_elem_type(
      onnx::TensorProto::INT64);
  builder.Node("NonZero", {"x"}, {"n"});
  builder.Node("Transpose", {"n"}, {"t"});
  builder.Node("GatherND", {"x", "t"}, {"found"});
  builder.Node("Greater", {"found", "three"}, {"large"});
  builder.Node("NonZero", {"large"}, {"y"});
  const auto model = Load(builder);
  ASSERT_OK(model);
  const auto places = AnswerOf<int64_t>(**model, {kMany}, {0, 1, 5, 0, 2, 7});
  ASSERT_OK(places);
  EXPECT_THAT(places->shape, ElementsAre(1, 2));
  EXPECT_THAT(places->elements, ElementsAre(1, 3));
}

TEST(StagedModelTest, AComputedNumberMayDecideAShape) {
  ModelBuilder builder;
  builder.Input("x", {"70"});
  builder.Output("y");
  builder.Node("ReduceMax", {"x"}, {"m"});
  SetInt(builder.Node("Cast", {"m"}, {"k"}), "to", onnx::TensorProto::INT64);
  SetInt(builder.Node("Concat", {"k", "k"}, {"s"}), "axis", 0);
  builder.Node("ConstantOfShape", {"s"}, {"y"});
  const auto model = Load(builder);
  ASSERT_OK(model);
  const auto zeros = AnswerOf<float>(**model, {kMany}, {1, 3, 2, 0});
  ASSERT_OK(zeros);
  EXPECT_THAT(zeros->shape, ElementsAre(3, 3));
}

TEST(StagedModelTest, WhatNoRunMakesPossibleIsRefusedAtLoad) {
  ModelBuilder builder;
  builder.Input("x", {"70"});
  builder.Output("y");
  builder.Node("NonZero", {"x"}, {"n"});
  builder.Node("Softmax", {"n"}, {"y"}, "bad");
  EXPECT_THAT(Load(builder), StatusIs(StatusCode::kUnimplemented, HasSubstr("node 'bad'")));
}

}  // namespace
}  // namespace hachi
