#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "engine/base/accuracy.h"
#include "engine/base/precision.h"
#include "engine/base/repair_report.h"

namespace hachi::server {

struct FreeDimConfig {
  std::optional<int64_t> max;  // larger ones are refused; nullopt: by memory alone
  std::vector<int64_t>
      buckets;    // ascending; requests are padded up to the next; empty: each size runs as it is
  float pad = 0;  // what padding consists of
};

struct InputConfig {
  enum class DType { kFloat32, kUint8 };
  enum class Layout { kNchw, kNhwc };
  std::optional<DType> dtype;  // nullopt: the model's
  Layout layout = Layout::kNchw;
  std::vector<float> mean;                    // one, or one a channel; empty: 0
  std::vector<float> scale;                   // one, or one a channel; empty: 1
  std::map<std::string, FreeDimConfig> dims;  // by the symbol that the model file gives a free dimension
};

struct OutputConfig {
  std::filesystem::path labels;  // one label a line, relative to the model directory; empty: none
};

struct BatchingConfig {
  int64_t max_batch_rows = 32;
  absl::Duration max_delay = absl::Milliseconds(2);  // a request is held back at most so long; zero: never
  int64_t max_queue_rows = 256;
  int64_t weight = 1;  // of the model's turns at the workers, against other models'
};

// A sample of the rows that clients ask, kept for calibration.
struct RecordConfig {
  int64_t rows = 512;
  std::filesystem::path dir;  // absolute, or beneath the model directory; a folder a version
};

// What a load in INT8 may cost, where golden samples lie beside the model.
struct GuardConfig {
  double max_drop = 0.01;  // of FP32's score
  Metric metric = Metric::kAuto;
  OnGuardFailure on_failure = OnGuardFailure::kFallback;
  absl::Duration time = absl::Seconds(30);  // see GuardOptions::time
};

// A sample of what clients ask that runs once more in FP32, to be compared.
struct ShadowConfig {
  double rate = 0;   // of rows; 0: none
  double cpu = 0.1;  // of one core that this may take at most
};

// One version's files: NAME/<version>/model.onnx, and what lies beside it.
struct VersionFiles {
  int64_t version = 1;
  std::filesystem::path model;
  std::filesystem::path table;   // calibration.txt; empty: none
  std::filesystem::path tuned;   // decisions.txt of `hachi tune`; empty: none
  std::filesystem::path golden;  // the folder golden/ there, or else in the model directory; empty: none
};

// A model directory, read and validated (files exist; their content is the engine's business).
struct ModelConfig {
  std::string name;
  std::filesystem::path dir;
  Precision precision = Precision::kAuto;
  std::map<std::string, InputConfig> inputs;
  std::map<std::string, OutputConfig> outputs;
  BatchingConfig batching;
  int64_t plan_bytes = int64_t{1} << 30;    // of the plans for free shapes, their working memory included
  std::optional<int> instances;             // nullopt: auto, as many as there are workers
  std::map<std::string, Precision> layers;  // pins, by node name or pattern
  std::string range = "auto";               // as LoadOptions::range_method
  Repairs repairs;
  GuardConfig guard;
  ShadowConfig shadow;
  std::optional<RecordConfig> record;  // nullopt: nothing is kept
  std::vector<VersionFiles> versions;  // ascending, at least one
};

// Reads `dir`: model.yaml (optional when there is only a model.onnx) and its versions. Errors name file, line
// and key.
absl::StatusOr<ModelConfig> ReadModelDirectory(const std::filesystem::path& dir);

}  // namespace hachi::server
