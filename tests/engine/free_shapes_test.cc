#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "engine/engine.h"
#include "tests/onnx/model_builder.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temp_dir.h"

// Models whose inputs have free dimensions, and models whose rows may not run together.
namespace hachi {
namespace {

using ::absl::StatusCode;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

using Dims = std::vector<int64_t>;

absl::StatusOr<std::unique_ptr<Model>> TryLoad(const ModelBuilder& builder, LoadOptions options = {}) {
  const TempDir dir;
  options.name = "built";
  options.model = dir.Write("model.onnx", builder.Bytes());
  return LoadModel(options);
}

std::unique_ptr<Model> Load(const ModelBuilder& builder, LoadOptions options = {}) {
  auto model = TryLoad(builder, std::move(options));
  EXPECT_OK(model);
  if (!model.ok()) std::abort();
  return *std::move(model);
}

// A request with one input and one output, in f32 or whatever T is.
template <typename T>
struct Call {
  std::shared_ptr<const RowShapes> shapes;
  std::vector<T> x;
  std::vector<float> y;

  Call(const Model& model, const Dims& row, std::vector<T> values, int64_t rows = 1) : x(std::move(values)) {
    auto found = model.ShapesOf({&row, 1}, {});
    EXPECT_OK(found);
    shapes = *found;
    y.resize(shapes->output_bytes[0] / sizeof(float) * static_cast<size_t>(rows));
    count = rows;
  }
  Rows rows() {
    return {.count = count,
            .shapes = shapes,
            .inputs = {{std::as_bytes(std::span<const T>(x))}},
            .outputs = {std::as_writable_bytes(std::span(y))}};
  }
  int64_t count;
};

// The answer to `rows` rows of that shape, plans made as they are needed.
template <typename T>
std::vector<float> RunOnce(const Model& model, const Dims& row, std::vector<T> values, int64_t rows = 1) {
  Call<T> call(model, row, std::move(values), rows);
  EXPECT_OK(model.MakePlans(*call.shapes->plans, rows));
  const Rows request = call.rows();
  EXPECT_OK(model.Run(*NewRunContext(), {&request, 1}));
  return call.y;
}

std::vector<float> Ramp(size_t count) {
  std::vector<float> values(count);
  for (size_t i = 0; i < count; ++i) values[i] = static_cast<float>(i % 17) - 8;
  return values;
}

// A 3 x 3 convolution of stride 2, a ReLU.
ModelBuilder Convolution(const std::string& height, const std::string& width) {
  ModelBuilder builder;
  builder.Input("x", {"N", "1", height, width});
  builder.Floats("w", {2, 1, 3, 3}, Ramp(18));
  SetInts(builder.Node("Conv", {"x", "w"}, {"c"}, "conv"), "strides", {2, 2});
  builder.Node("Relu", {"c"}, {"y"});
  builder.Output("y");
  return builder;
}

// The mean of a sequence's elements.
ModelBuilder MeanOfSequence() {
  ModelBuilder builder;
  builder.Input("x", {"batch", "length"});
  SetInts(builder.Node("ReduceMean", {"x"}, {"y"}), "axes", {1});
  builder.Output("y");
  return builder;
}

ModelBuilder Elementwise(const std::vector<std::string>& dims) {
  ModelBuilder builder;
  builder.Input("x", dims);
  builder.Node("Relu", {"x"}, {"y"});
  builder.Output("y");
  return builder;
}

// a + b.
ModelBuilder SumOf(const std::vector<std::string>& a, const std::vector<std::string>& b) {
  ModelBuilder builder;
  builder.Input("a", a);
  builder.Input("b", b);
  builder.Node("Add", {"a", "b"}, {"y"});
  builder.Output("y");
  return builder;
}

TEST(FreeShapesTest, SignatureNamesTheFreeDimensions) {
  const auto model = Load(Convolution("height", "width"));
  const TensorSignature& x = model->signature().inputs[0];
  EXPECT_TRUE(model->signature().batched);
  EXPECT_THAT(x.dims, ElementsAre(1, -1, -1));
  EXPECT_THAT(x.symbols, ElementsAre("", "height", "width"));
  EXPECT_THAT(model->signature().outputs[0].dims, ElementsAre(2, -1, -1));
}

TEST(FreeShapesTest, EachShapeGetsTheAnswerOfAModelMadeForIt) {
  const auto free = Load(Convolution("height", "width"));
  for (const auto& [height, width] : {std::pair{5, 9}, {16, 7}, {5, 9}, {31, 32}}) {
    const auto fixed = Load(Convolution(std::to_string(height), std::to_string(width)));
    const std::vector<float> x = Ramp(static_cast<size_t>(height * width));
    EXPECT_EQ(RunOnce(*free, {1, height, width}, x), RunOnce(*fixed, {1, height, width}, x))
        << height << "x" << width;
  }
}

TEST(FreeShapesTest, RowsOfOneShapeRunTogether) {
  const auto model = Load(Convolution("height", "width"), {.max_batch_rows = 8});
  const std::vector<float> x = Ramp(3 * 8 * 8);
  const std::vector<float> together = RunOnce(*model, {1, 8, 8}, x, 3);
  for (size_t row = 0; row < 3; ++row) {
    const std::vector<float> one(x.begin() + row * 64, x.begin() + (row + 1) * 64);
    const std::vector<float> part(together.begin() + row * 18, together.begin() + (row + 1) * 18);
    EXPECT_EQ(RunOnce(*model, {1, 8, 8}, one), part);
  }
}

TEST(FreeShapesTest, EqualShapesShareTheirPlans) {
  const auto model = Load(Elementwise({"N", "length"}));
  const Dims a = {3}, b = {4};
  EXPECT_EQ((*model->ShapesOf({&a, 1}, {}))->plans, (*model->ShapesOf({&a, 1}, {}))->plans);
  EXPECT_NE((*model->ShapesOf({&a, 1}, {}))->plans, (*model->ShapesOf({&b, 1}, {}))->plans);
}

TEST(FreeShapesTest, BucketsPadAndOutputsAreCutBack) {
  const auto model =
      Load(Elementwise({"N", "length", "2"}),
           {.inputs = {{"x", {.dims = {{"length", {.buckets = {4, 8}}}}}}}, .max_batch_rows = 2});
  EXPECT_THAT(RunOnce<float>(*model, {3, 2}, {1, -2, 3, -4, 5, -6}), ElementsAre(1, 0, 3, 0, 5, 0));
  const Dims three = {3, 2}, four = {4, 2}, five = {5, 2};
  EXPECT_EQ((*model->ShapesOf({&three, 1}, {}))->plans, (*model->ShapesOf({&four, 1}, {}))->plans);
  EXPECT_NE((*model->ShapesOf({&three, 1}, {}))->plans, (*model->ShapesOf({&five, 1}, {}))->plans);
}

TEST(FreeShapesTest, RequestsOfOneBucketRunInOneBatch) {
  const auto model = Load(Elementwise({"N", "length"}),
                          {.inputs = {{"x", {.dims = {{"length", {.buckets = {4}}}}}}}, .max_batch_rows = 4});
  Call<float> a(*model, {1}, {7}), b(*model, {3}, {1, -1, 2, 3, 4, -5}, 2);
  EXPECT_OK(model->MakePlans(*a.shapes->plans, 3));
  const std::vector<Rows> requests = {a.rows(), b.rows()};
  EXPECT_OK(model->Run(*NewRunContext(), requests));
  EXPECT_THAT(a.y, ElementsAre(7));
  EXPECT_THAT(b.y, ElementsAre(1, 0, 2, 3, 4, 0));
}

TEST(FreeShapesTest, PaddingIsWhatIsConfigured) {
  const auto model =
      Load(MeanOfSequence(), {.inputs = {{"x", {.dims = {{"length", {.buckets = {4}, .pad = 10}}}}}}});
  EXPECT_THAT(RunOnce<float>(*model, {2}, {1, 3}), ElementsAre(6));  // (1 + 3 + 10 + 10) / 4
}

TEST(FreeShapesTest, ShapesBeyondABoundOrOffTheSignatureAreRefused) {
  const auto model =
      Load(Elementwise({"N", "length", "2"}), {.inputs = {{"x", {.dims = {{"length", {.max = 9}}}}}}});
  const auto refused = [&](const Dims& row) { return model->ShapesOf({&row, 1}, {}).status(); };
  EXPECT_OK(refused({9, 2}));
  EXPECT_THAT(refused({10, 2}),
              StatusIs(StatusCode::kInvalidArgument, HasSubstr("'length' is 10, expected at most 9")));
  EXPECT_THAT(refused({9, 3}),
              StatusIs(StatusCode::kInvalidArgument, HasSubstr("input 'x': shape is [9,3]")));
  EXPECT_THAT(refused({0, 2}), StatusIs(StatusCode::kInvalidArgument, HasSubstr("expected at least 1")));
  EXPECT_THAT(refused({2}), StatusIs(StatusCode::kInvalidArgument, HasSubstr("1 dimensions, expected 2")));
}

TEST(FreeShapesTest, OneSymbolHasOneSize) {
  const ModelBuilder builder = SumOf({"N", "length"}, {"N", "length"});
  const auto model = Load(builder);
  const std::vector<Dims> rows = {{3}, {4}};
  EXPECT_THAT(model->ShapesOf(rows, {}), StatusIs(StatusCode::kInvalidArgument, HasSubstr("input 'b'")));
}

TEST(FreeShapesTest, ShapeThatCannotFitIsRefusedBeforeAnythingIsAllocated) {
  const auto model = Load(Elementwise({"N", "length"}), {.plan_bytes = 4 << 20});
  for (const int64_t length : {int64_t{1} << 20, int64_t{1} << 40, int64_t{1} << 61}) {
    const Dims row = {length};
    EXPECT_THAT(model->ShapesOf({&row, 1}, {}), StatusIs(StatusCode::kResourceExhausted, HasSubstr("limit")));
  }
}

TEST(FreeShapesTest, PlansUsedLeastRecentlyLeaveWhenTheBoundIsReached) {
  constexpr int64_t kBytes = 1 << 20;
  const auto model = Load(Elementwise({"N", "length"}), {.plan_bytes = kBytes});
  for (int64_t length = 1; length <= 200; ++length) {
    EXPECT_EQ(RunOnce<float>(*model, {length}, std::vector<float>(static_cast<size_t>(length), 1)).back(), 1);
    EXPECT_LE(model->plan_cache_stats().bytes, kBytes);
  }
  EXPECT_GT(model->plan_cache_stats().evictions, 100);
}

TEST(FreeShapesTest, PlansInUseStay) {
  const auto model = Load(Elementwise({"N", "length"}), {.plan_bytes = 1 << 20});
  Call<float> held(*model, {3}, {1, -1, 2});
  EXPECT_OK(model->MakePlans(*held.shapes->plans, 1));
  for (int64_t length = 4; length <= 200; ++length)
    RunOnce<float>(*model, {length}, std::vector<float>(static_cast<size_t>(length)));
  const Rows request = held.rows();
  EXPECT_OK(model->Run(*NewRunContext(), {&request, 1}));
  EXPECT_THAT(held.y, ElementsAre(1, 0, 2));
}

TEST(FreeShapesTest, UnknownDimensionsAndTwoSetsOfBoundsAreErrors) {
  EXPECT_THAT(TryLoad(Elementwise({"N", "length"}), {.inputs = {{"x", {.dims = {{"width", {}}}}}}}),
              StatusIs(StatusCode::kInvalidArgument, HasSubstr("no free dimension 'width'")));
  const ModelBuilder builder = SumOf({"N", "length"}, {"N", "length"});
  EXPECT_THAT(TryLoad(builder, {.inputs = {{"a", {.dims = {{"length", {.max = 8}}}}},
                                           {"b", {.dims = {{"length", {.max = 9}}}}}}}),
              StatusIs(StatusCode::kInvalidArgument, HasSubstr("'length' has two sets of bounds")));
}

TEST(RowIndependenceTest, ModelThatMixesRowsTakesWholeTensorsAndSaysWhy) {
  ModelBuilder builder;
  builder.Input("x", {"N", "2"});
  auto* mean = builder.Node("ReduceMean", {"x"}, {"m"}, "mean");
  SetInts(mean, "axes", {0});
  builder.Node("Sub", {"x", "m"}, {"y"});
  builder.Output("y");
  const auto model = Load(builder, {.max_batch_rows = 8});
  EXPECT_FALSE(model->signature().batched);
  EXPECT_THAT(model->signature().why_not_batched, HasSubstr("node 'mean' (ReduceMean)"));
  EXPECT_THAT(RunOnce<float>(*model, {2, 2}, {1, 2, 3, 6}), ElementsAre(-1, -2, 1, 2));
  EXPECT_THAT(RunOnce<float>(*model, {1, 2}, {1, 2}), ElementsAre(0, 0));
}

TEST(RowIndependenceTest, BatchAxesThatAreNamedDifferentlyAreOneBatch) {
  const ModelBuilder builder = SumOf({"batch_a", "2"}, {"batch_b", "2"});
  EXPECT_TRUE(Load(builder)->signature().batched);
}

TEST(RowIndependenceTest, InputWithoutABatchAxisMakesRequestsWholeTensors) {
  ModelBuilder builder;
  builder.Input("x", {"N", "2"});
  builder.Input("z", {"1", "2"});
  builder.Node("Add", {"x", "z"}, {"y"});
  builder.Output("y");
  const auto model = Load(builder);
  EXPECT_FALSE(model->signature().batched);
  EXPECT_THAT(model->signature().inputs[0].symbols, ElementsAre("N", ""));
}

TEST(RowIndependenceTest, BatchOfOneThatWasBakedInIsOne) {
  ModelBuilder builder;
  builder.Input("x", {"N", "2"});
  builder.Int64s("shape", {1, 1, 2});
  builder.Node("Reshape", {"x", "shape"}, {"y"});
  builder.Output("y");
  const auto model = Load(builder);
  EXPECT_FALSE(model->signature().batched);
  EXPECT_THAT(model->signature().inputs[0].dims, ElementsAre(1, 2));
}

}  // namespace
}  // namespace hachi
