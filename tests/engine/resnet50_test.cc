// ResNet-50 v1.5 with random weights, as exporters write it: batch normalization as nodes of their own.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "absl/strings/str_cat.h"
#include "engine/calibrate/calibrate.h"
#include "engine/engine.h"
#include "engine/samples/tensor_file.h"
#include "tests/engine/int8_steps.h"
#include "tests/onnx/model_builder.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temp_dir.h"

namespace hachi {
namespace {

class ResNet50 {
 public:
  ResNet50() {
    builder_.Input("input", {"N", "3", "224", "224"});
    std::string x = Relu(ConvBn("input", 3, 64, 7, 2));
    auto* pool = builder_.Node("MaxPool", {x}, {"pool"});
    SetInts(pool, "kernel_shape", {3, 3});
    SetInts(pool, "strides", {2, 2});
    SetInts(pool, "pads", {1, 1, 1, 1});
    x = "pool";
    int inputs = 64;
    for (const auto& [width, blocks] : {std::pair{64, 3}, {128, 4}, {256, 6}, {512, 3}})
      for (int block = 0; block < blocks; ++block) {
        const int stride = block == 0 && width > 64 ? 2 : 1;
        std::string y = Relu(ConvBn(x, inputs, width, 1, 1));
        y = Relu(ConvBn(y, width, width, 3, stride));
        y = ConvBn(y, width, 4 * width, 1, 1);
        const std::string shortcut = block == 0 ? ConvBn(x, inputs, 4 * width, 1, stride) : x;
        builder_.Node("Add", {y, shortcut}, {y + "_sum"});
        x = Relu(y + "_sum");
        inputs = 4 * width;
      }
    builder_.Node("GlobalAveragePool", {x}, {"average"});
    builder_.Node("Flatten", {"average"}, {"features"});
    Random("classifier", {1000, 2048}, 0.02f);
    SetInt(builder_.Node("Gemm", {"features", "classifier"}, {"logits"}), "transB", 1);
    builder_.Output("logits");
  }

  std::string Bytes() const { return builder_.Bytes(); }

 private:
  void Random(const std::string& name, const std::vector<int64_t>& dims, float deviation) {
    std::vector<float> values(static_cast<size_t>(CountOf(dims)));
    // Uniform: what matters here is the graph, and this is ten times faster than a normal distribution.
    for (float& value : values)
      value = deviation * (static_cast<float>(random_() >> 8) / static_cast<float>(1 << 24) - 0.5f) * 3.46f;
    builder_.Floats(name, dims, values);
  }

  std::string ConvBn(const std::string& x, int inputs, int outputs, int kernel, int stride) {
    const std::string name = absl::StrCat("conv", count_++);
    Random(name + "_w", {outputs, inputs, kernel, kernel},
           std::sqrt(2.0f / static_cast<float>(inputs * kernel * kernel)));
    auto* conv = builder_.Node("Conv", {x, name + "_w"}, {name}, name);
    SetInts(conv, "strides", {stride, stride});
    SetInts(conv, "pads", std::vector<int64_t>(4, kernel / 2));
    const auto channels = static_cast<size_t>(outputs);
    builder_.Floats(name + "_one", {outputs}, std::vector(channels, 1.0f));
    builder_.Floats(name + "_zero", {outputs}, std::vector(channels, 0.0f));
    builder_.Node("BatchNormalization", {name, name + "_one", name + "_zero", name + "_zero", name + "_one"},
                  {name + "_bn"});
    return name + "_bn";
  }

  std::string Relu(const std::string& x) {
    builder_.Node("Relu", {x}, {x + "_relu"});
    return x + "_relu";
  }

  ModelBuilder builder_;
  std::mt19937 random_{1};
  int count_ = 0;
};

TEST(ResNet50Test, LoadsCalibratesAndRunsInInt8WithoutFp32InBetween) {
  const TempDir dir;
  const auto file = dir.Write("model.onnx", ResNet50().Bytes());
  Tensor images(DType::kF32, {2, 3, 224, 224});
  std::mt19937 random(2);
  for (float& pixel : images.As<float>()) pixel = static_cast<float>(random() % 512) / 128 - 2;
  ASSERT_OK(WriteNpy(dir.Write("samples/a.npy", ""), images.view()));
  const auto table = Calibrate({.model = file, .data = dir.path() / "samples"});
  ASSERT_OK(table);
  ASSERT_OK(table->Write(dir.path() / "calibration.txt"));

  const auto logits = [&](Precision precision) {
    LoadOptions options{.name = "resnet50", .model = file, .precision = precision, .max_batch_rows = 2};
    if (precision == Precision::kInt8) options.table = dir.path() / "calibration.txt";
    const auto model = LoadModel(options);
    EXPECT_OK(model);
    if (precision == Precision::kInt8) {
      EXPECT_EQ(CheckInt8Steps(*(*model)->Steps(nullptr, 2)), 54);
      EXPECT_GE((*model)->info().int8_mac_ratio, 0.99);
      EXPECT_EQ((*model)->info().weights_copies, 0);
    }
    std::vector<float> output(2 * 1000);
    const Rows rows{
        .count = 2, .inputs = {{images.bytes()}}, .outputs = {std::as_writable_bytes(std::span(output))}};
    EXPECT_OK((*model)->Run(*NewRunContext(), {&rows, 1}));
    return output;
  };
  const std::vector<float> fp32 = logits(Precision::kFp32), int8 = logits(Precision::kInt8);
  double error = 0, energy = 0;
  for (size_t i = 0; i < fp32.size(); ++i) {
    error += (fp32[i] - int8[i]) * (fp32[i] - int8[i]);
    energy += fp32[i] * fp32[i];
  }
  // Random networks amplify rounding errors: 50 layers of them leave a tenth or two. Nonsense would leave 1.
  EXPECT_LT(std::sqrt(error / energy), 0.3);
}

}  // namespace
}  // namespace hachi
