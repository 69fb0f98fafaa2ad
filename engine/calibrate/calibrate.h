#pragma once

#include <cstddef>
#include <filesystem>
#include <functional>
#include <map>
#include <string>

#include "absl/status/statusor.h"
#include "engine/quant/calibration_table.h"
#include "engine/tensor/input_options.h"

namespace hachi {

struct CalibrateOptions {
  std::filesystem::path model;  // the .onnx file
  std::filesystem::path data;   // samples: see engine/samples/sample_set.h
  std::map<std::string, InputOptions>
      inputs;            // what clients send, where that differs from what the model takes
  std::string data_tag;  // for the table's header
  std::string tool_version;
  std::function<void(size_t done, size_t all)> progress;  // samples; may be empty
};

// Runs the FP32 model, unfused, over every row of every sample and notes what each computed f32 tensor held.
// A sample's tensors are what clients send (by `inputs`), or what the model takes; one row, or rows in the
// first dimension. Runs on the calling thread's team.
//
// Errors are those of LoadModel for the model, those of SampleSet for the data; INVALID_ARGUMENT naming the
// sample when it doesn't fit the model.
absl::StatusOr<CalibrationTable> Calibrate(const CalibrateOptions& options);

}  // namespace hachi
