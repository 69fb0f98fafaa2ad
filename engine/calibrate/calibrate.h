#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <limits>
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
  int64_t first_row = 0;                                   // rows of the data before it are passed over
  int64_t max_rows = std::numeric_limits<int64_t>::max();  // rows that are run over at most

  struct Progress {
    size_t sample, samples;  // the one that is run over, counted from 1, of how many
    int64_t rows;            // that were run over
  };
  std::function<void(const Progress&)> progress;  // may be empty
  std::function<bool()> stop;  // asked every few rows: whether to end here; may be empty: never
};

// What calibration saw until it ended: `status` is OK at the end of the data, CANCELLED where it was stopped,
// else what is wrong with the data. The table is of `table.header().samples` rows from first_row on in any
// case, and merges with that of the rest.
struct Calibration {
  CalibrationTable table;
  absl::Status status;
};

// Runs the FP32 model, unfused, over every row of every sample and notes what each computed f32 tensor held.
// A sample's tensors are what clients send (by `inputs`), or what the model takes; one row, or rows in the
// first dimension. Runs on the calling thread's team.
//
// Errors are those of LoadModel for the model, those of SampleSet for the data; INVALID_ARGUMENT naming the
// sample when it doesn't fit the model or a row of it holds no number, and where first_row is behind the last
// row.
absl::StatusOr<Calibration> CalibrateUntil(const CalibrateOptions& options);

// The table of all of it, or the error.
absl::StatusOr<CalibrationTable> Calibrate(const CalibrateOptions& options);

}  // namespace hachi
