#pragma once

#include <filesystem>
#include <limits>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "engine/engine.h"
#include "engine/tune/answers.h"
#include "engine/tune/candidate.h"
#include "engine/tune/golden.h"
#include "engine/tune/score.h"

namespace hachi {

// A step that runs in INT8 by the rules, so that something else can be decided of it.
struct Layer {
  std::string name;
  absl::Duration cost;  // that a row takes longer where it runs in FP32; may be negative
};

// Compiles candidates of one model and compares their answers to golden rows with FP32's.
//
// Confined to one thread; what it starts runs on threads of its own.
class Evaluator {
 public:
  struct Options {
    const ModelSource* source;              // outlives it
    std::filesystem::path samples, labels;  // see GoldenSet::Read
    int64_t max_rows = std::numeric_limits<int64_t>::max();
    LoadOptions load;  // how the model is asked for, in INT8 by a table; `tuned` is taken as it is
    Metric metric = Metric::kAuto;
    bool absolute = false;        // see Scorer
    Origin origin;                // of what candidates decide
    int64_t batch_rows = 1;       // that run together
    absl::Duration speed_time{};  // of measuring throughput; zero: it is not measured
    double plain_rate = 0;        // plain_rate(), where it was measured before; 0: it was not
  };

  // What was measured of a candidate.
  struct Measured {
    Score score;
    double throughput_per_s =
        0;              // rows, on all CPUs: plain_rate() times the ratio to plain(); 0: not measured
    int64_t bytes = 0;  // weights and the largest plan's working memory
  };

  // Runs FP32 over the rows. Errors are those of LoadModel, of AnswersOf, and where samples or labels don't
  // fit.
  static absl::StatusOr<std::unique_ptr<Evaluator>> Create(Options options);

  const Scorer& scorer() const { return *scorer_; }

  // As the model is asked for, with nothing decided but by rules and stronger reasons.
  const Candidate& plain() const { return plain_; }

  // FP32 itself.
  absl::StatusOr<Measured> MeasureFp32() const { return MeasureModel(*fp32_); }

  absl::StatusOr<Measured> Measure(const Candidate& candidate) const;

  // The noise of each (see Score), over a few of the rows; several at the same time.
  absl::StatusOr<std::vector<double>> NoiseOf(std::span<const Candidate> candidates) const;

  // Rows a second of plain(), as measured once: what the machine did then is in it. 0: no throughput is
  // measured.
  double plain_rate() const { return options_.plain_rate; }

  // Measured::throughput_per_s once more, with more time. REQUIRES: throughput is measured.
  absl::StatusOr<double> ThroughputOf(const Candidate& candidate) const;

  // The layers of plain(), in the order of its plan.
  absl::StatusOr<std::vector<Layer>> Layers() const;

 private:
  explicit Evaluator(Options options) : options_(std::move(options)) {}

  absl::Status Prepare();

  // Compiles plain(), for others to be compared with.
  absl::Status PreparePlain();

  // Compiles FP32 and brings the samples into its form.
  absl::Status ReadRows();
  absl::StatusOr<std::unique_ptr<Model>> Compile(const LoadOptions& options) const;
  absl::StatusOr<Measured> MeasureModel(const Model& model) const;

  // Takes turns with plain(): the median of the ratios counts.
  absl::StatusOr<double> ThroughputOf(const Model& model, absl::Duration time) const;

  // Seconds that each step takes, by name.
  absl::StatusOr<std::map<std::string, double>> StepTimes(const Model& model) const;

  Options options_;
  RunSetup setup_;
  Candidate plain_;
  std::unique_ptr<Model> fp32_, int8_;  // int8_: plain(), where throughput is measured
  std::optional<GoldenSet> golden_;
  std::vector<GoldenRow> rows_;
  std::vector<size_t> probes_;  // the few rows
  std::optional<Scorer> scorer_;
};

}  // namespace hachi
