#pragma once

#include <algorithm>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "engine/calibrate/calibrate.h"
#include "engine/engine.h"
#include "engine/samples/tensor_file.h"
#include "tests/support/status_matchers.h"

namespace hachi {

// The demo model of deploy/models/digits as its model.yaml has it, and its held-out test set.
inline std::filesystem::path SourceDir() { return HACHI_SOURCE_DIR; }
inline std::filesystem::path DigitsDir() { return SourceDir() / "deploy/models/digits/1"; }

inline std::map<std::string, InputOptions> DigitsInputs() {
  return {{"image", {.dtype = DType::kU8, .channels_last = true, .mean = {33.3f}, .scale = {0.0127f}}}};
}

inline LoadOptions DigitsOptions(Precision precision) {
  LoadOptions options{.name = "digits", .model = DigitsDir() / "model.onnx", .precision = precision};
  if (precision == Precision::kInt8) options.table = DigitsDir() / "calibration.txt";
  options.inputs = DigitsInputs();
  options.max_batch_rows = 32;
  return options;
}

struct TestSet {
  Tensor images, labels;
  int64_t rows() const { return labels.count(); }
};

inline TestSet ReadTestSet() {
  auto images = ReadTensorFile(SourceDir() / "tests/demo/test_images.npy");
  auto labels = ReadTensorFile(SourceDir() / "tests/demo/test_labels.npy");
  EXPECT_OK(images);
  EXPECT_OK(labels);
  return {*std::move(images), *std::move(labels)};
}

// The model's only output for `rows` rows of its only input, as one request.
inline std::vector<float> RunRows(const Model& model, RunContext& context, std::span<const std::byte> input,
                                  int64_t rows) {
  std::vector<float> output(static_cast<size_t>(rows) * model.signature().outputs[0].row_bytes() /
                            sizeof(float));
  Rows request{.count = rows, .inputs = {{input}}, .outputs = {std::as_writable_bytes(std::span(output))}};
  EXPECT_OK(model.Run(context, {&request, 1}));
  return output;
}

}  // namespace hachi
