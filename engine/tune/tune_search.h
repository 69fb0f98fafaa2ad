#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <random>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "engine/tune/candidate.h"
#include "engine/tune/evaluator.h"
#include "engine/tune/search.h"
#include "engine/tune/trial_log.h"

namespace hachi {

// What the best candidate has most or least of, among those that are good.
enum class Objective { kThroughput, kMemory };

// A candidate that was measured.
struct Trial {
  int64_t id = 0;
  std::string strategy;
  Candidate candidate;
  Evaluator::Measured measured;
  bool good = false;  // it loses no more than it may
};

// What a strategy searches with: layers, chance, and trials, of which it keeps the best. The same seed and
// the same measurements make the same search, so that one which was interrupted goes on by being run again.
//
// Confined to one thread.
class TuneSearch final : public LayerSearch {
 public:
  struct Options {
    Candidate plain;            // INT8 with nothing decided
    std::vector<Layer> layers;  // of it, in the order of its plan
    std::function<absl::StatusOr<Evaluator::Measured>(const Candidate&)> measure;
    std::function<absl::StatusOr<std::vector<double>>(std::span<const Candidate>)> noise_of;
    std::function<absl::StatusOr<double>(const Candidate&)>
        throughput_of;       // measured once more, with more time; empty: there is no final
    double max_drop = 0.01;  // that a good candidate loses; see Scorer::Budget
    Objective objective = Objective::kThroughput;
    std::string strategy;
    uint64_t seed = 1;
    int64_t max_trials = 100;
    absl::Time until = absl::InfiniteFuture();
    std::function<bool()> stop;                       // asked before each measurement; may be empty
    std::function<void(const TuneSearch&)> progress;  // called behind each trial; may be empty
    TrialLog* log = nullptr;                          // null: nothing is remembered
  };

  explicit TuneSearch(Options options) : options_(std::move(options)), random_(options_.seed) {}

  const Candidate& plain() const { return options_.plain; }
  const std::vector<Layer>& layers() const override { return options_.layers; }
  std::mt19937_64& random() { return random_; }

  // Measures it, unless it was before. CANCELLED where trials or time are used up, or it is to stop.
  absl::StatusOr<Trial> Try(const Candidate& candidate);

  // LayerSearch, likewise.
  absl::StatusOr<std::vector<double>> NoiseOf(std::span<const Candidate> candidates) override;
  absl::StatusOr<bool> IsGood(const Candidate& candidate) override;
  double likely_noise() const override { return NoiseOfDrop(options_.max_drop); }
  bool is_hurried() const override { return false; }

  // Measures the throughput of the fastest good trials again: of many, the one that looks best is likely to
  // be one that was lucky. plain() is among them, so that nothing slower is kept. Nothing where throughput is
  // not the objective, or it is to stop.
  absl::Status RunFinal();

  const std::vector<Trial>& trials() const { return trials_; }
  int64_t max_trials() const { return options_.max_trials; }

  // The best of the good trials, of the finalists once there are some; null while there is none.
  const Trial* best() const;

 private:
  bool is_stopped() const { return options_.stop && options_.stop(); }
  absl::Status CheckBudget() const;
  bool IsBetter(const Trial& trial, const Trial& other) const;

  // Places in trials_ of those that meet in a final.
  std::vector<size_t> Finalists() const;

  // Throughput in the final, as the log remembers it, or measured.
  absl::StatusOr<double> FinalThroughputOf(const Candidate& candidate);

  Options options_;
  std::mt19937_64 random_;
  std::vector<Trial> trials_;
  std::map<std::string, size_t> known_;  // places in trials_, by key
  std::set<int64_t> finalists_;          // ids of those that met in a final; none: there was none
};

// `start` with those layers in a higher precision, by their places.
Candidate Without(const TuneSearch& search, Candidate start, std::span<const size_t> layers);

// The noise that each layer adds alone, by its place: what taking it out of plain INT8 removes.
absl::StatusOr<std::vector<double>> NoiseOfEachLayer(TuneSearch& search, const Candidate& start);

}  // namespace hachi
