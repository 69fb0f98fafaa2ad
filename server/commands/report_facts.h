#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/base/pass_report.h"
#include "engine/engine.h"

namespace hachi::server {

// One precision of a model, measured on one thread.
struct SpeedFacts {
  std::string precision;
  double load_seconds = 0, throughput_per_s = 0;  // of rows
  double p50_seconds = 0, p99_seconds = 0;        // of a batch
  int64_t weights_bytes = 0;
};

// How what is served answers rows of data, beside FP32.
struct AccuracyFacts {
  int64_t rows = 0;
  double agreement = 0;  // share of places whose largest score is where FP32 has it; see Agreement
  double error = 0;      // mean size of the difference over FP32's
};

// A tensor that the served model stores as integers, and what calibration saw of it.
struct StoredTensor {
  std::string name;
  float low = 0, high = 0;            // that integers reach
  float min = 0, max = 0;             // that was seen
  double clipped = 0, used = 0;       // as RangeUse
  double snr_db = 0;                  // see SignalToNoise
  std::vector<uint64_t> counts = {};  // of values, in equal bins from min to max
};

struct ReportFacts {
  std::string model, isa, why_not_batched;
  int64_t batch = 1;
  double int8_mac_ratio = 0, vnni_mac_ratio = 0;
  SpeedFacts served, fp32;
  std::optional<AccuracyFacts> accuracy;  // nullopt: there were no data
  std::vector<StepProfile> steps;         // of what is served
  std::vector<StoredTensor> tensors;      // by name; none without a table of ours
  std::vector<PassReport> passes;
  std::vector<RepairReport> repairs;
  std::string tune;  // tune.json; empty: there is none
};

struct ReportOptions {
  LoadOptions load;
  std::string data;    // samples as calibrate reads them; empty: none
  int64_t batch = 8;   // rows a run where rows run together
  double seconds = 2;  // of measuring
};

// Loads the model as configured and in FP32 and finds all of it. Leaves the calling thread's team at one
// thread. Errors are LoadModel's and those of SampleSet; INVALID_ARGUMENT where free dimensions would have to
// be given.
absl::StatusOr<ReportFacts> GatherReport(const ReportOptions& options);

}  // namespace hachi::server
