// A layer of a transformer encoder with random weights, as exporters write it: layer normalization, GELU and
// attention in pieces.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "engine/calibrate/calibrate.h"
#include "engine/engine.h"
#include "engine/ops/op.h"
#include "engine/passes/pass.h"
#include "engine/run/prepare.h"
#include "tests/onnx/model_builder.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temp_dir.h"

namespace hachi {
namespace {

constexpr int64_t kLength = 8, kWidth = 32, kHeads = 2, kHidden = 96, kWords = 50, kRows = 4;

class Transformer {
 public:
  Transformer() {
    for (const char* input : {"ids", "mask"})
      builder_.Input(input, {"N", absl::StrCat(kLength)}, onnx::TensorProto::INT64);
    builder_.Int64s("middle", {1, 2});
    builder_.Int64s("split", {0, kLength, kHeads, kWidth / kHeads});
    builder_.Int64s("merge", {0, kLength, kWidth});
    builder_.Int64s("first", {0});
    SetInt(builder_.Node("Cast", {"mask"}, {"mask_real"}), "to", onnx::TensorProto::FLOAT);
    builder_.Node("Unsqueeze", {"mask_real", "middle"}, {"mask_wide"});
    const std::string blind = Mul(Binary("Sub", Scalar(1), "mask_wide"), Scalar(-10000));

    builder_.Node("Gather", {Random({kWords, kWidth}, 1), "ids"}, {"embedded"});
    std::string x = LayerNorm(Binary("Add", "embedded", Random({1, kLength, kWidth}, 0.5f)));
    const std::string query = Heads(x, {0, 2, 1, 3}), key = Heads(x, {0, 2, 3, 1}),
                      value = Heads(x, {0, 2, 1, 3});
    const std::string scores = Binary("Div", Binary("MatMul", query, key), Scalar(4));
    builder_.Node("Softmax", {Binary("Add", scores, blind)}, {"attention"});
    SetInts(builder_.Node("Transpose", {Binary("MatMul", "attention", value)}, {"seen"}), "perm",
            {0, 2, 1, 3});
    builder_.Node("Reshape", {"seen", "merge"}, {"merged"});
    x = LayerNorm(Binary("Add", Linear("merged", kWidth, kWidth), x));
    x = LayerNorm(Binary("Add", Linear(Gelu(Linear(x, kWidth, kHidden)), kHidden, kWidth), x));
    SetInt(builder_.Node("Gather", {x, "first"}, {"cls"}), "axis", 1);
    builder_.Node("Tanh", {Linear("cls", kWidth, kWidth)}, {"pooled"});
    builder_.Node("Identity", {Linear("pooled", kWidth, 2)}, {"logits"});
    builder_.Output("logits");
  }

  const ModelBuilder& builder() const { return builder_; }

 private:
  std::string NewName(const std::string& what) { return absl::StrCat(what, count_++); }

  std::string Binary(const std::string& op, const std::string& a, const std::string& b) {
    const std::string y = NewName(op);
    builder_.Node(op, {a, b}, {y}, y);
    return y;
  }
  std::string Mul(const std::string& a, const std::string& b) { return Binary("Mul", a, b); }
  std::string Unary(const std::string& op, const std::string& x) {
    const std::string y = NewName(op);
    builder_.Node(op, {x}, {y}, y);
    return y;
  }

  std::string Scalar(float value) {
    const std::string name = NewName("scalar");
    builder_.Floats(name, {}, {value});
    return name;
  }
  std::string Random(const std::vector<int64_t>& dims, float deviation, float mean = 0) {
    const std::string name = NewName("weights");
    std::vector<float> values(static_cast<size_t>(CountOf(dims)));
    for (float& value : values)
      value = mean +
              deviation * (static_cast<float>(random_() >> 8) / static_cast<float>(1 << 24) - 0.5f) * 3.46f;
    builder_.Floats(name, dims, values);
    return name;
  }

  std::string Linear(const std::string& x, int64_t inputs, int64_t outputs) {
    const std::string y =
        Binary("MatMul", x, Random({inputs, outputs}, 1 / std::sqrt(static_cast<float>(inputs))));
    return Binary("Add", Random({outputs}, 0.1f), y);
  }

  std::string Heads(const std::string& x, const std::vector<int64_t>& perm) {
    const std::string y = NewName("heads");
    builder_.Node("Reshape", {Linear(x, kWidth, kWidth), "split"}, {y + "_split"});
    SetInts(builder_.Node("Transpose", {y + "_split"}, {y}), "perm", perm);
    return y;
  }

  std::string Mean(const std::string& x) {
    const std::string y = NewName("mean");
    SetInts(builder_.Node("ReduceMean", {x}, {y}), "axes", {-1});
    return y;
  }
  std::string LayerNorm(const std::string& x) {
    const std::string centred = Binary("Sub", x, Mean(x));
    const std::string variance = Mean(Binary("Pow", centred, Scalar(2)));
    const std::string deviation = Unary("Sqrt", Binary("Add", variance, Scalar(1e-6f)));
    const std::string scaled = Mul(Binary("Div", centred, deviation), Random({kWidth}, 0.2f, 1));
    return Binary("Add", scaled, Random({kWidth}, 0.1f));
  }

  std::string Gelu(const std::string& x) {
    const std::string erf = Unary("Erf", Binary("Div", x, Scalar(std::sqrt(2.0f))));
    return Mul(Mul(x, Binary("Add", erf, Scalar(1))), Scalar(0.5f));
  }

  ModelBuilder builder_;
  std::mt19937 random_{1};
  int count_ = 0;
};

struct Samples {
  Tensor ids{DType::kS64, {kRows, kLength}}, mask{DType::kS64, {kRows, kLength}};

  Samples() {
    std::mt19937 random(2);
    for (int64_t& id : ids.As<int64_t>()) id = static_cast<int64_t>(random() % kWords);
    for (int64_t i = 0; i < kRows * kLength; ++i) mask.As<int64_t>()[i] = i % kLength <= i / kLength + 3;
  }
};

std::vector<float> RunOn(const Model& model, std::span<const std::byte> ids,
                         std::span<const std::byte> mask) {
  const auto rows = static_cast<int64_t>(ids.size()) / (kLength * 8);
  std::vector<float> logits(static_cast<size_t>(rows * 2));
  const Rows request{
      .count = rows, .inputs = {{ids}, {mask}}, .outputs = {std::as_writable_bytes(std::span(logits))}};
  EXPECT_OK(model.Run(*NewRunContext(), {&request, 1}));
  return logits;
}

// What the references of the graph give, each node by itself.
std::vector<float> RunUnfused(const std::filesystem::path& file, const Samples& samples) {
  auto imported = ImportOnnx(file);
  EXPECT_OK(imported);
  auto graph = PrepareGraph(imported->graph, {});
  EXPECT_OK(graph);
  std::map<const Value*, Tensor> results;
  const auto view = [&](const Value* value) {
    if (value == nullptr) return TensorView{};
    if (value->is_constant()) return value->constant->view();
    if (value->producer == nullptr) return (value->name == "ids" ? samples.ids : samples.mask).view();
    return results.at(value).view();
  };
  for (const Node* node : graph->graph.NodeList()) {
    std::vector<TensorView> inputs;
    for (const Value* input : node->inputs) inputs.push_back(view(input));
    auto outputs = RunReference(*node, inputs, {{"N", kRows}});
    EXPECT_OK(outputs);
    results.emplace(node->output(), std::move(outputs->front()));
  }
  const auto logits = results.at(graph->graph.outputs()[0].value).As<float>();
  return {logits.begin(), logits.end()};
}

std::string PbBytes(const Tensor& tensor) {
  onnx::TensorProto proto;
  proto.set_data_type(onnx::TensorProto::INT64);
  for (const int64_t dim : tensor.shape()) proto.add_dims(dim);
  proto.set_raw_data(tensor.bytes().data(), tensor.bytes().size());
  return proto.SerializeAsString();
}

std::unique_ptr<Model> Load(const std::filesystem::path& file, const std::filesystem::path& table = {}) {
  auto model = LoadModel({.name = "transformer", .model = file, .table = table, .max_batch_rows = kRows});
  EXPECT_OK(model);
  if (!model.ok()) std::abort();
  return *std::move(model);
}

// How many steps of the plan are of the operator, of any precision where none is named.
int64_t CountSteps(const Model& model, std::string_view op, std::string_view precision = "") {
  return std::ranges::count_if(*model.Steps(nullptr, kRows), [&](const StepFacts& step) {
    return step.op == op && (precision.empty() || step.precision == precision);
  });
}

TEST(TransformerTest, FusedFp32AgreesWithTheReferencesOfTheUnfusedGraph) {
  const TempDir dir;
  const auto file = dir.Write("model.onnx", Transformer().builder().Bytes());
  const Samples samples;
  const auto model = Load(file);
  EXPECT_EQ(CountSteps(*model, "LayerNormalization"), 3);
  for (const char* fused : {"ReduceMean", "Pow", "Sqrt", "Erf", "Div"})
    EXPECT_EQ(CountSteps(*model, fused), 0) << fused;
  EXPECT_THAT(model->info().reference_steps, testing::IsEmpty());
  const auto found = RunOn(*model, samples.ids.bytes(), samples.mask.bytes());
  const auto expected = RunUnfused(file, samples);
  for (size_t i = 0; i < expected.size(); ++i)
    EXPECT_NEAR(found[i], expected[i], 2e-5f * (1 + std::abs(expected[i])));
}

TEST(TransformerTest, CalibratesAndRunsWithInt8Products) {
  const TempDir dir;
  const auto file = dir.Write("model.onnx", Transformer().builder().Bytes());
  const Samples samples;
  dir.Write("samples/input_0.pb", PbBytes(samples.ids));
  dir.Write("samples/input_1.pb", PbBytes(samples.mask));
  const auto table = Calibrate({.model = file, .data = dir.path() / "samples"});
  ASSERT_OK(table);
  ASSERT_OK(table->Write(dir.path() / "calibration.txt"));

  const auto model = Load(file, dir.path() / "calibration.txt");
  // Six products of the layer, two behind it. Residuals are added as real numbers, so that what
  // normalizations make is there as such, too.
  EXPECT_EQ(CountSteps(*model, "MatMul", "int8"), 8);
  EXPECT_EQ(CountSteps(*model, "DequantizeLinear", "fp32"), 0);
  EXPECT_THAT(model->info().reference_steps, testing::IsEmpty());
  const auto fp32 = RunOn(*Load(file), samples.ids.bytes(), samples.mask.bytes());
  const auto int8 = RunOn(*model, samples.ids.bytes(), samples.mask.bytes());
  double error = 0, energy = 0;
  for (size_t i = 0; i < fp32.size(); ++i) {
    error += (fp32[i] - int8[i]) * (fp32[i] - int8[i]);
    energy += fp32[i] * fp32[i];
  }
  EXPECT_LT(std::sqrt(error / energy), 0.1);
}

TEST(TransformerTest, SampleWithAnIndexOutOfRangeIsRefused) {
  const TempDir dir;
  const auto file = dir.Write("model.onnx", Transformer().builder().Bytes());
  Samples samples;
  samples.ids.As<int64_t>()[3] = kWords;
  dir.Write("samples/input_0.pb", PbBytes(samples.ids));
  dir.Write("samples/input_1.pb", PbBytes(samples.mask));
  EXPECT_THAT(Calibrate({.model = file, .data = dir.path() / "samples"}),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       testing::HasSubstr("input 'ids' has an element 50, expected -50 to 49")));
}

TEST(TransformerTest, IndexOutOfRangeSpoilsItsOwnRowOnly) {
  const TempDir dir;
  const auto model = Load(dir.Write("model.onnx", Transformer().builder().Bytes()));
  const auto& range = model->signature().inputs[0].range;
  ASSERT_TRUE(range.has_value());
  EXPECT_EQ(range->lowest, -kWords);
  EXPECT_EQ(range->highest, kWords - 1);
  EXPECT_FALSE(model->signature().inputs[1].range.has_value());

  Samples samples;
  const auto good = RunOn(*model, samples.ids.bytes(), samples.mask.bytes());
  samples.ids.As<int64_t>()[kLength] = kWords;  // the second row's first
  const auto spoilt = RunOn(*model, samples.ids.bytes(), samples.mask.bytes());
  for (size_t i = 0; i < good.size(); ++i) {
    if (i / 2 == 1)
      EXPECT_TRUE(std::isnan(spoilt[i])) << i;
    else
      EXPECT_EQ(spoilt[i], good[i]) << i;
  }
}

}  // namespace
}  // namespace hachi
