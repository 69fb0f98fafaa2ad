#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <limits>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "engine/decide/tuned.h"
#include "engine/engine.h"
#include "engine/tune/strategy.h"
#include "engine/tune/tune_search.h"

namespace hachi {

struct TuneOptions {
  LoadOptions load;  // how the model is asked for, in INT8 by a table; `tuned` is left alone
  std::filesystem::path samples, labels;  // see GoldenSet::Read
  int64_t max_rows = std::numeric_limits<int64_t>::max();
  Metric metric = Metric::kAuto;
  double max_drop = 0.01;
  bool absolute = false;  // see Scorer
  Objective objective = Objective::kThroughput;
  const Strategy* strategy = &Strategies().front();
  uint64_t seed = 1;
  int64_t max_trials = 100;
  absl::Duration time = absl::InfiniteDuration();       // for trials, once FP32 was measured
  int64_t batch_rows = 1;                               // that run together
  absl::Duration speed_time = absl::Milliseconds(600);  // of each trial's measuring of throughput
  std::filesystem::path log;   // what is measured goes there, and is read again; empty: nothing
  std::function<bool()> stop;  // asked between measurements; may be empty
  std::function<void(const TuneSearch&)> progress;  // called behind each trial; may be empty
};

struct TuneResult {
  Metric metric = Metric::kSnr;  // never kAuto
  Evaluator::Measured fp32;
  Candidate plain;  // what trials differ from
  std::vector<Trial> trials;
  const Trial* best = nullptr;  // of `trials`; null: none is good
  TunedDecisions decisions;     // of the best one
  absl::Status ended;           // OK: the strategy knew no better; CANCELLED: why it did not get so far
};

// Searches for the fastest or smallest way to run a model in INT8 that loses no more than it may. Runs on all
// CPUs of the budget. Errors are those of LoadModel, of samples or labels that don't fit, and
// FAILED_PRECONDITION where the model has no layer in INT8.
absl::StatusOr<TuneResult> Tune(const TuneOptions& options);

}  // namespace hachi
