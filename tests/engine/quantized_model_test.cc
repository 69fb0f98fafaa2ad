#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>

#include "absl/strings/str_cat.h"
#include "engine/cpu/isa.h"
#include "engine/engine.h"
#include "tests/onnx/model_builder.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temp_dir.h"

// Models that others quantized: one product between quantizers, its weights through DequantizeLinear.
namespace hachi {
namespace {

struct Form {
  const char* op;
  int weight_type = onnx::TensorProto::INT8;  // or UINT8
  bool by_channel = false;
  int zero_point = -1;        // of the weights; -1: left out
  const char* bias = "none";  // "f32", or "s32": integers through DequantizeLinear

  std::string Text() const {
    return absl::StrCat(op, weight_type == onnx::TensorProto::INT8 ? " s8" : " u8",
                        by_channel ? " channels" : "", " zero ", zero_point, " bias ", bias);
  }
};

constexpr int64_t kDepth = 8, kChannels = 16;
constexpr float kStep = 0.04f;  // of the result

onnx::TensorProto* Integers(ModelBuilder& builder, const std::string& name, int type,
                            const std::vector<int64_t>& dims, const std::vector<int>& values) {
  auto* tensor = builder.proto.mutable_graph()->add_initializer();
  tensor->set_name(name);
  tensor->set_data_type(type);
  tensor->mutable_dims()->Add(dims.begin(), dims.end());
  tensor->mutable_int32_data()->Add(values.begin(), values.end());
  return tensor;
}

// "name" through a pair of quantizers to u8 with the scale and zero point of that name.
void AddPair(ModelBuilder& builder, const std::string& from, const std::string& to, float scale, int zero) {
  builder.Floats(to + "_scale", {}, {scale});
  Integers(builder, to + "_zero", onnx::TensorProto::UINT8, {}, {zero});
  builder.Node("QuantizeLinear", {from, to + "_scale", to + "_zero"}, {to + "_q"});
  builder.Node("DequantizeLinear", {to + "_q", to + "_scale", to + "_zero"}, {to});
}

ModelBuilder Build(const Form& form) {
  const bool conv = form.op == std::string_view("Conv"), transposed = form.op == std::string_view("GemmT");
  ModelBuilder builder;
  builder.Input("x",
                conv ? std::vector<std::string>{"1", "8", "5", "5"} : std::vector<std::string>{"4", "8"});
  AddPair(builder, "x", "xd", 0.03f, 117);
  std::mt19937 random(1);
  const int64_t axis = conv || transposed ? 0 : 1;
  const std::vector<int64_t> dims = conv         ? std::vector<int64_t>{kChannels, kDepth, 3, 3}
                                    : transposed ? std::vector<int64_t>{kChannels, kDepth}
                                                 : std::vector<int64_t>{kDepth, kChannels};
  std::vector<int> weights(static_cast<size_t>(kDepth * kChannels * (conv ? 9 : 1)));
  const bool is_signed = form.weight_type == onnx::TensorProto::INT8;
  for (int& w : weights)  // what is left of them without a zero point fits s8
    w = std::max(form.zero_point, 0) + static_cast<int>(random() % 101) -
        (is_signed || form.zero_point > 0 ? 50 : 0);
  Integers(builder, "wq", form.weight_type, dims, weights);
  const size_t scales = form.by_channel ? kChannels : 1;
  const std::vector<int64_t> scale_dims =
      form.by_channel ? std::vector<int64_t>{kChannels} : std::vector<int64_t>();
  std::vector<float> weight_scales, bias_scales;
  for (size_t c = 0; c < scales; ++c) {
    weight_scales.push_back(0.01f + 0.001f * static_cast<float>(c));
    bias_scales.push_back(weight_scales.back() * 0.03f);
  }
  builder.Floats("ws", scale_dims, weight_scales);
  std::vector<std::string> weight_inputs{"wq", "ws"}, inputs{"xd", "wd"};
  if (form.zero_point >= 0) {
    Integers(builder, "wz", form.weight_type, scale_dims, std::vector<int>(scales, form.zero_point));
    weight_inputs.emplace_back("wz");
  }
  SetInt(builder.Node("DequantizeLinear", weight_inputs, {"wd"}), "axis", axis);
  if (form.bias == std::string_view("f32"))
    builder.Floats("b", {kChannels}, std::vector<float>(kChannels, 0.3f));
  if (form.bias == std::string_view("s32")) {
    Integers(builder, "bq", onnx::TensorProto::INT32, {kChannels}, std::vector<int>(kChannels, -700));
    builder.Floats("bs", scale_dims, bias_scales);
    SetInt(builder.Node("DequantizeLinear", {"bq", "bs"}, {"b"}), "axis", 0);
  }
  if (form.bias != std::string_view("none")) inputs.emplace_back("b");
  auto* product = builder.Node(transposed ? "Gemm" : form.op, inputs, {"c"}, "product");
  if (conv) SetInts(product, "pads", {1, 1, 1, 1});
  if (transposed) SetInt(product, "transB", 1);
  AddPair(builder, "c", "y", kStep, 120);
  builder.Output("y");
  return builder;
}

struct Result {
  std::vector<float> y;
  double int8_mac_ratio;
  std::string why_not_bf16;
};

absl::StatusOr<Result> Answer(const ModelBuilder& builder, Precision precision) {
  const TempDir directory;
  ASSIGN_OR_RETURN(const auto model, LoadModel({.name = "m",
                                                .model = directory.Write("model.onnx", builder.Bytes()),
                                                .precision = precision}));
  const Signature& signature = model->signature();
  std::vector<float> x(signature.inputs[0].row_bytes() / sizeof(float));
  std::mt19937 random(2);
  for (float& element : x) element = static_cast<float>(random() % 1000) * 0.007f - 3.5f;
  Result result{.y = std::vector<float>(signature.outputs[0].row_bytes() / sizeof(float)),
                .int8_mac_ratio = model->info().int8_mac_ratio,
                .why_not_bf16 = model->info().why_not_bf16};
  const Rows request{.count = 1,
                     .inputs = {{std::as_bytes(std::span(x))}},
                     .outputs = {std::as_writable_bytes(std::span(result.y))}};
  const auto context = NewRunContext();
  RETURN_IF_ERROR(model->Run(*context, {&request, 1}).status());
  return result;
}

std::vector<Form> Forms() {
  using onnx::TensorProto;
  std::vector<Form> forms;
  for (const char* op : {"Conv", "Gemm", "GemmT", "MatMul"})
    for (const bool by_channel : {false, true})
      for (const char* bias : {"none", "f32", "s32"}) {
        if (op == std::string_view("MatMul") && bias != std::string_view("none")) continue;
        for (const int zero_point : {-1, 0, 5})
          forms.push_back({op, TensorProto::INT8, by_channel, zero_point, bias});
        for (const int zero_point : {-1, 128, 125})
          forms.push_back({op, TensorProto::UINT8, by_channel, zero_point, bias});
      }
  return forms;
}

class QuantizedModelTest : public testing::TestWithParam<Form> {};

TEST_P(QuantizedModelTest, RunsOnItsIntegersAndAnswersAsWritten) {
  const ModelBuilder builder = Build(GetParam());
  const auto integers = Answer(builder, Precision::kAuto), reals = Answer(builder, Precision::kFp32);
  ASSERT_OK(integers.status()) << GetParam().Text();
  ASSERT_OK(reals.status()) << GetParam().Text();
  // Without VNNI those run on real numbers whose sums could saturate.
  if (HasVnni(DetectIsa())) {
    EXPECT_EQ(integers->int8_mac_ratio, 1) << GetParam().Text();
  }
  EXPECT_EQ(reals->int8_mac_ratio, 0) << GetParam().Text();
  int64_t differ = 0;
  for (size_t i = 0; i < reals->y.size(); ++i) {
    EXPECT_NEAR(integers->y[i], reals->y[i], 1.01f * kStep) << GetParam().Text();
    differ += integers->y[i] != reals->y[i];
  }
  EXPECT_LE(differ, std::ssize(reals->y) / 20) << GetParam().Text();  // ties
}

INSTANTIATE_TEST_SUITE_P(EveryForm, QuantizedModelTest, testing::ValuesIn(Forms()));

// Two products of FP32, an activation between them.
ModelBuilder TwoProducts() {
  ModelBuilder builder;
  builder.Input("x", {"N", "8"});
  std::mt19937 random(3);
  const auto weights = [&](const char* name, const std::vector<int64_t>& dims) {
    std::vector<float> values(static_cast<size_t>(dims[0] * dims[1]));
    for (float& value : values) value = static_cast<float>(random() % 1000) * 0.001f - 0.5f;
    builder.Floats(name, dims, values);
  };
  weights("w1", {8, 32});
  weights("w2", {16, 32});
  builder.Floats("b1", {32}, std::vector<float>(32, 0.5f));
  builder.Node("MatMul", {"x", "w1"}, {"m"}, "first");
  builder.Node("Add", {"m", "b1"}, {"a"});
  builder.Node("Relu", {"a"}, {"r"});
  SetInt(builder.Node("Gemm", {"r", "w2"}, {"y"}, "second"), "transB", 1);
  builder.Output("y");
  return builder;
}

TEST(DynamicInt8Test, ProductsQuantizeWhatTheyReadByRowAndNeedNoTable) {
  const auto dynamic = Answer(TwoProducts(), Precision::kInt8Dynamic),
             reals = Answer(TwoProducts(), Precision::kFp32);
  ASSERT_OK(dynamic.status());
  ASSERT_OK(reals.status());
  EXPECT_EQ(dynamic->int8_mac_ratio, 1);
  for (size_t i = 0; i < reals->y.size(); ++i) EXPECT_NEAR(dynamic->y[i], reals->y[i], 0.15f);
}

std::vector<int> SmallWeights() {
  std::vector<int> weights(8 * 16);
  std::mt19937 random(4);
  for (int& w : weights) w = static_cast<int>(random() % 101) - 50;
  return weights;
}

// As ONNX Runtime's tool quantizes a MatMul dynamically.
ModelBuilder OnnxRuntimesForm(const std::vector<int>& weights) {
  ModelBuilder builder;
  builder.Input("x", {"4", "8"});
  Integers(builder, "w", onnx::TensorProto::INT8, {8, 16}, weights);
  Integers(builder, "wz", onnx::TensorProto::INT8, {}, {0});
  builder.Floats("ws", {}, {0.02f});
  builder.Floats("b", {16}, std::vector<float>(16, 0.5f));
  builder.Node("DynamicQuantizeLinear", {"x"}, {"q", "s", "z"});
  builder.Node("MatMulInteger", {"q", "w", "z", "wz"}, {"i"});
  SetInt(builder.Node("Cast", {"i"}, {"f"}), "to", onnx::TensorProto::FLOAT);
  builder.Node("Mul", {"s", "ws"}, {"ss"});
  builder.Node("Mul", {"f", "ss"}, {"m"});
  builder.Node("Add", {"m", "b"}, {"y"});
  builder.Output("y");
  return builder;
}

TEST(Int8WeightsTest, MatricesAreStoredInBytesAndMultipliedAsRealNumbers) {
  const auto stored = Answer(TwoProducts(), Precision::kInt8Weights),
             reals = Answer(TwoProducts(), Precision::kFp32);
  ASSERT_OK(stored.status());
  ASSERT_OK(reals.status());
  EXPECT_EQ(stored->int8_mac_ratio, 0);
  EXPECT_NE(stored->y, reals->y);
  for (size_t i = 0; i < reals->y.size(); ++i) EXPECT_NEAR(stored->y[i], reals->y[i], 0.1f);
}

TEST(DynamicInt8Test, FilesRunOnRealNumbersWhereTheyAreAskedFor) {
  const auto answer = Answer(OnnxRuntimesForm(SmallWeights()), Precision::kFp32);
  ASSERT_OK(answer.status());
  EXPECT_EQ(answer->int8_mac_ratio, 0);
}

TEST(DynamicInt8Test, OnnxRuntimesFormRunsOnItsIntegers) {
  const std::vector<int> weights = SmallWeights();
  const auto answer = Answer(OnnxRuntimesForm(weights), Precision::kAuto);
  ASSERT_OK(answer.status());
  EXPECT_EQ(answer->int8_mac_ratio, 1);
  // From the definition: x is that of Answer.
  std::vector<float> x(4 * 8);
  std::mt19937 same(2);
  for (float& element : x) element = static_cast<float>(same() % 1000) * 0.007f - 3.5f;
  const auto [low, high] = std::ranges::minmax(x);
  const float scale = (std::max(high, 0.0f) - std::min(low, 0.0f)) / 255;
  const float zero = std::nearbyint(-std::min(low, 0.0f) / scale);
  for (size_t i = 0; i < answer->y.size(); ++i) {
    float sum = 0;
    for (size_t k = 0; k < 8; ++k) {
      const float q = std::clamp(std::nearbyint(x[i / 16 * 8 + k] / scale) + zero, 0.0f, 255.0f);
      sum += (q - zero) * static_cast<float>(weights[k * 16 + i % 16]);
    }
    EXPECT_NEAR(answer->y[i], sum * scale * 0.02f + 0.5f, 1e-4f);
  }
}

// "x" as integers, what `node` makes of them, and real numbers of that.
absl::StatusOr<Result> OfIntegers(const char* op, const std::vector<std::string>& inputs) {
  ModelBuilder builder;
  builder.Input("x", {"2", "8"});
  builder.Floats("s", {}, {0.03f});
  Integers(builder, "z", onnx::TensorProto::UINT8, {}, {117});
  Integers(builder, "low", onnx::TensorProto::UINT8, {}, {100});
  Integers(builder, "high", onnx::TensorProto::UINT8, {}, {130});
  builder.Node("QuantizeLinear", {"x", "s", "z"}, {"q"});
  auto* node = builder.Node(op, inputs, {"i"});
  if (op == std::string_view("Concat")) SetInt(node, "axis", 1);
  builder.Node("DequantizeLinear", {"i", "s", "z"}, {"y"});
  builder.Output("y");
  return Answer(builder, Precision::kAuto);
}

TEST(QuantizedModelTest, IntegersBetweenQuantizersAreWhatTheyStandFor) {
  const auto same = OfIntegers("Concat", {"q", "q"}), clipped = OfIntegers("Clip", {"q", "low", "high"});
  ASSERT_OK(same.status());
  ASSERT_OK(clipped.status());
  for (size_t i = 0; i < 16; ++i) {
    const float y = same->y[i % 8 + i / 8 * 16];
    EXPECT_EQ(y, same->y[i % 8 + i / 8 * 16 + 8]);
    EXPECT_NEAR(clipped->y[i], std::clamp(y, -17 * 0.03f, 13 * 0.03f), 1e-6f);
  }
}

TEST(QuantizedModelTest, RealWeightsOnAGridAreItsIntegers) {
  for (const float off : {0.0f, 0.4f}) {
    ModelBuilder builder;
    builder.Input("x", {"4", "8"});
    AddPair(builder, "x", "xd", 0.03f, 117);
    std::vector<float> weights;
    for (int i = 0; i < 8 * 16; ++i)
      weights.push_back(0.02f * static_cast<float>(i < 16 ? 127 : i % 101 - 50));
    weights.back() += 0.02f * off;
    builder.Floats("w", {8, 16}, weights);
    builder.Node("MatMul", {"xd", "w"}, {"m"});
    AddPair(builder, "m", "y", 0.5f, 120);
    builder.Output("y");
    const auto answer = Answer(builder, Precision::kAuto);
    ASSERT_OK(answer.status());
    EXPECT_EQ(answer->int8_mac_ratio, off == 0 && HasVnni(DetectIsa()) ? 1 : 0);
  }
}

// A convolution whose input is its residual, twice, then a pooling: what BF16 makes of types in between.
ModelBuilder ResidualNetwork() {
  ModelBuilder builder;
  builder.Input("x", {"2", "8", "6", "6"});
  std::vector<float> weights(8 * 8 * 9);
  std::mt19937 random(5);
  for (float& w : weights) w = static_cast<float>(random() % 100) * 0.004f - 0.2f;
  builder.Floats("w", {8, 8, 3, 3}, weights);
  for (const char* block : {"a", "b"}) {
    const std::string name(block), input = name == "a" ? "x" : "a_out";
    SetInts(builder.Node("Conv", {input, "w"}, {name + "_conv"}), "pads", {1, 1, 1, 1});
    builder.Node("Add", {name + "_conv", input}, {name + "_sum"});
    builder.Node("Relu", {name + "_sum"}, {name + "_out"});
  }
  builder.Node("GlobalAveragePool", {"b_out"}, {"y"});
  builder.Output("y");
  return builder;
}

TEST(Bf16Test, AnswersAreThoseOfRealNumbersToThreeDigits) {
  for (const ModelBuilder& builder : {TwoProducts(), ResidualNetwork()}) {
    const auto bf16 = Answer(builder, Precision::kBf16), reals = Answer(builder, Precision::kFp32);
    ASSERT_OK(bf16.status());
    ASSERT_OK(reals.status());
    EXPECT_EQ(bf16->why_not_bf16.empty(), HasBf16());
    float largest = 0;
    for (const float y : reals->y) largest = std::max(largest, std::abs(y));
    for (size_t i = 0; i < reals->y.size(); ++i) EXPECT_NEAR(bf16->y[i], reals->y[i], 0.01f * largest);
    if (HasBf16()) {
      EXPECT_NE(bf16->y, reals->y);
    }
  }
}

}  // namespace
}  // namespace hachi
