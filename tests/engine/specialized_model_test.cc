#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "engine/engine.h"
#include "tests/onnx/model_builder.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temp_dir.h"

namespace hachi {
namespace {

using absl::StatusCode;
using testing::ElementsAre;
using testing::HasSubstr;

std::unique_ptr<Model> Load(const ModelBuilder& builder, int64_t plan_bytes = int64_t{1} << 20) {
  const TempDir directory;
  auto model = LoadModel(
      {.name = "m", .model = directory.Write("model.onnx", builder.Bytes()), .plan_bytes = plan_bytes});
  EXPECT_OK(model);
  return model.ok() ? *std::move(model) : nullptr;
}

template <typename T>
InputChunks Bytes(const std::vector<T>& values) {
  return {std::as_bytes(std::span(values))};
}

// The only output for whole tensors of FP32 as input 0 and integers as input 1.
absl::StatusOr<std::vector<float>> Answer(const Model& model, const std::vector<int64_t>& shape,
                                          const std::vector<float>& x, const std::vector<int64_t>& s,
                                          std::vector<int64_t>* answer_shape = nullptr) {
  Rows request{.count = 1, .inputs = {Bytes(x), Bytes(s)}};
  const std::vector<std::vector<int64_t>> shapes{shape, {static_cast<int64_t>(s.size())}};
  ASSIGN_OR_RETURN(request.shapes, model.ShapesOf(shapes, request.inputs));
  RETURN_IF_ERROR(model.MakePlans(*request.shapes->plans, 1));
  std::vector<float> output(request.shapes->output_bytes[0] / sizeof(float));
  request.outputs = {std::as_writable_bytes(std::span(output))};
  const auto context = NewRunContext();
  RETURN_IF_ERROR(model.Run(*context, {&request, 1}).status());
  if (answer_shape != nullptr) *answer_shape = request.shapes->outputs[0];
  return output;
}

// y = reshape(-x, s), s being an input.
ModelBuilder Reshape() {
  ModelBuilder builder;
  builder.Input("x", {"A", "B"});
  builder.Input("s", {"2"}, onnx::TensorProto::INT64);
  builder.Output("y");
  builder.Node("Neg", {"x"}, {"n"});
  builder.Node("Reshape", {"n", "s"}, {"y"}, "reshape");
  return builder;
}

TEST(SpecializedModelTest, AnInputMayDecideTheShapeOfTheAnswer) {
  const auto model = Load(Reshape());
  EXPECT_FALSE(model->signature().batched);
  EXPECT_TRUE(model->signature().inputs[1].decides);
  std::vector<int64_t> shape;
  const std::vector<float> x{1, 2, 3, 4, 5, 6};
  EXPECT_THAT(Answer(*model, {2, 3}, x, {3, 2}, &shape), IsOkAndHolds(ElementsAre(-1, -2, -3, -4, -5, -6)));
  EXPECT_THAT(shape, ElementsAre(3, 2));
  EXPECT_OK(Answer(*model, {6, 1}, x, {1, -1}, &shape));
  EXPECT_THAT(shape, ElementsAre(1, 6));
}

TEST(SpecializedModelTest, ValuesThatDoNotFitAreRefused) {
  const auto model = Load(Reshape());
  const std::vector<float> x{1, 2};
  EXPECT_THAT(Answer(*model, {1, 2}, x, {3, 3}),
              StatusIs(StatusCode::kInvalidArgument, HasSubstr("node 'reshape'")));
  EXPECT_THAT(Answer(*model, {1, 2}, x, {2}), StatusIs(StatusCode::kInvalidArgument, HasSubstr("input 's'")));
  EXPECT_THAT(model->ShapesOf(std::vector<std::vector<int64_t>>{{1, 2}, {2}}, {}).status(),
              StatusIs(StatusCode::kInvalidArgument, HasSubstr("'s' decides what the model computes")));
}

TEST(SpecializedModelTest, EqualValuesShareTheirPlans) {
  const auto model = Load(Reshape());
  const std::vector<float> x{1, 2};
  for (int i = 0; i < 3; ++i) EXPECT_OK(Answer(*model, {1, 2}, x, {2, 1}));
  EXPECT_EQ(model->plan_cache_stats().sets, 1);
  EXPECT_OK(Answer(*model, {1, 2}, x, {1, 2}));
  EXPECT_EQ(model->plan_cache_stats().sets, 2);
}

TEST(SpecializedModelTest, PlansOfValuesStayWithinTheirBytes) {
  const auto model = Load(Reshape(), /*plan_bytes=*/300'000);
  for (int64_t rows = 1; rows <= 24; ++rows)
    EXPECT_OK(Answer(*model, {rows, 1}, std::vector<float>(static_cast<size_t>(rows)), {1, rows}));
  EXPECT_LE(model->plan_cache_stats().bytes, 300'000);
  EXPECT_GT(model->plan_cache_stats().evictions, 0);
}

TEST(SpecializedModelTest, WhatCannotBeCompiledSaysSoEachTime) {
  ModelBuilder builder;
  builder.Input("x", {"A"});
  builder.Input("s", {"4"}, onnx::TensorProto::INT64);
  builder.Input("w", {"8", "8", "3", "3"});
  builder.Output("y");
  builder.Node("Reshape", {"x", "s"}, {"r"});
  builder.Node("Conv", {"r", "w"}, {"y"}, "conv");
  const auto model = Load(builder, /*plan_bytes=*/int64_t{1} << 30);
  const std::vector<int64_t> s{100, 8, 64, 64};
  const std::vector<InputChunks> values{{}, Bytes(s), {}};
  const auto shapes =
      model->ShapesOf(std::vector<std::vector<int64_t>>{{100 * 8 * 64 * 64}, {4}, {8, 8, 3, 3}}, values);
  ASSERT_OK(shapes);
  for (int i = 0; i < 2; ++i)
    EXPECT_THAT(model->MakePlans(*(*shapes)->plans, 1),
                StatusIs(StatusCode::kUnimplemented, HasSubstr("node 'conv'")));
}

TEST(SpecializedModelTest, AnswersBeyondTheMemoryOfPlansAreRefused) {
  ModelBuilder builder;
  builder.Input("x", {"A", "B"});
  builder.Input("s", {"2"}, onnx::TensorProto::INT64);
  builder.Output("y");
  builder.Node("Expand", {"x", "s"}, {"y"}, "expand");
  const auto model = Load(builder);
  EXPECT_THAT(Answer(*model, {1, 1}, {1}, {1 << 20, 1 << 20}),
              StatusIs(StatusCode::kResourceExhausted, HasSubstr("node 'expand'")));
  EXPECT_THAT(Answer(*model, {1, 1}, {3}, {1, 2}), IsOkAndHolds(ElementsAre(3, 3)));
}

// y = x where the condition holds, else -x.
ModelBuilder Branches() {
  ModelBuilder builder;
  builder.Input("x", {"A", "B"});
  builder.Input("s", {"1"}, onnx::TensorProto::INT64);
  builder.Output("y");
  auto* node = builder.Node("If", {"c"}, {"y"}, "if");
  AddBranch(node, "then_branch", "Identity", "inner");
  AddBranch(node, "else_branch", "Neg", "inner");
  return builder;
}

TEST(SpecializedModelTest, AnInputMayDecideABranch) {
  ModelBuilder builder = Branches();
  builder.Int64s("rate", {16000});
  builder.Node("Equal", {"s", "rate"}, {"c"});
  const auto model = Load(builder);
  EXPECT_THAT(Answer(*model, {1, 2}, {1, 2}, {16000}), IsOkAndHolds(ElementsAre(1, 2)));
  EXPECT_THAT(Answer(*model, {1, 2}, {1, 2}, {8000}), IsOkAndHolds(ElementsAre(-1, -2)));
}

TEST(SpecializedModelTest, DimensionsMayDecideABranch) {
  ModelBuilder builder = Branches();
  builder.Int64s("two", {2});
  auto* rows = builder.Node("Shape", {"x"}, {"rows"});
  SetInt(rows, "start", 1);
  builder.Node("Equal", {"rows", "two"}, {"c"});
  const auto model = Load(builder);
  EXPECT_FALSE(model->signature().inputs[1].decides);
  EXPECT_THAT(Answer(*model, {1, 2}, {1, 2}, {0}), IsOkAndHolds(ElementsAre(1, 2)));
  EXPECT_THAT(Answer(*model, {2, 1}, {1, 2}, {0}), IsOkAndHolds(ElementsAre(-1, -2)));
}

TEST(SpecializedModelTest, OperatorsThatDoNotExistAreRefusedAtLoad) {
  ModelBuilder builder = Reshape();
  builder.Node("Unheard", {"x"}, {"u"}, "u");
  builder.Output("u");
  const TempDir directory;
  EXPECT_THAT(LoadModel({.name = "m", .model = directory.Write("model.onnx", builder.Bytes())}),
              StatusIs(StatusCode::kUnimplemented, HasSubstr("'Unheard' is not supported")));
}

}  // namespace
}  // namespace hachi
