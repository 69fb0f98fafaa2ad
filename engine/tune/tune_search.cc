#include "engine/tune/tune_search.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/base/clock.h"
#include "engine/base/status_macros.h"

namespace hachi {

absl::Status TuneSearch::CheckBudget() const {
  if (is_stopped()) return absl::CancelledError("interrupted");
  if (static_cast<int64_t>(trials_.size()) >= options_.max_trials)
    return absl::CancelledError("all trials are used up");
  if (Clock::Real().Now() >= options_.until) return absl::CancelledError("the time is used up");
  return absl::OkStatus();
}

absl::StatusOr<Trial> TuneSearch::Try(const Candidate& candidate) {
  const std::string key = candidate.Key();
  if (const auto known = known_.find(key); known != known_.end()) return trials_[known->second];
  RETURN_IF_ERROR(CheckBudget());
  std::optional<Evaluator::Measured> measured =
      options_.log == nullptr ? std::nullopt : options_.log->FindTrial(key);
  if (!measured) {
    ASSIGN_OR_RETURN(measured, options_.measure(candidate));
    if (options_.log != nullptr) RETURN_IF_ERROR(options_.log->AddTrial(key, *measured));
  }
  known_[key] = trials_.size();
  trials_.push_back({.id = static_cast<int64_t>(trials_.size()) + 1,
                     .strategy = options_.strategy,
                     .candidate = candidate,
                     .measured = *measured,
                     .good = measured->score.drop <= options_.max_drop});
  if (options_.progress) options_.progress(*this);
  return trials_.back();
}

absl::StatusOr<std::vector<double>> TuneSearch::NoiseOf(std::span<const Candidate> candidates) {
  RETURN_IF_ERROR(CheckBudget());
  std::vector<std::optional<double>> noises;
  std::vector<Candidate> unknown;
  for (const Candidate& candidate : candidates) {
    noises.push_back(options_.log == nullptr ? std::nullopt
                                             : options_.log->FindNumber("noise", candidate.Key()));
    if (!noises.back()) unknown.push_back(candidate);
  }
  std::vector<double> measured;
  if (!unknown.empty()) {
    ASSIGN_OR_RETURN(measured, options_.noise_of(unknown));
  }
  for (size_t i = 0; options_.log != nullptr && i < unknown.size(); ++i)
    RETURN_IF_ERROR(options_.log->AddNumber("noise", unknown[i].Key(), measured[i]));
  std::vector<double> found;
  size_t next = 0;
  for (const auto& noise : noises) found.push_back(noise ? *noise : measured[next++]);
  return found;
}

absl::StatusOr<bool> TuneSearch::IsGood(const Candidate& candidate) {
  ASSIGN_OR_RETURN(const Trial trial, Try(candidate));
  return trial.good;
}

bool TuneSearch::IsBetter(const Trial& trial, const Trial& other) const {
  const Evaluator::Measured &a = trial.measured, &b = other.measured;
  if (options_.objective == Objective::kThroughput && a.throughput_per_s != b.throughput_per_s)
    return a.throughput_per_s > b.throughput_per_s;
  if (options_.objective == Objective::kMemory && a.bytes != b.bytes) return a.bytes < b.bytes;
  return a.score.drop < b.score.drop;
}

const Trial* TuneSearch::best() const {
  const Trial* best = nullptr;
  for (const Trial& trial : trials_)
    if (trial.good && (finalists_.empty() || finalists_.contains(trial.id)) &&
        (best == nullptr || IsBetter(trial, *best)))
      best = &trial;
  return best;
}

std::vector<size_t> TuneSearch::Finalists() const {
  constexpr size_t kFastest = 3;
  std::vector<size_t> order;
  for (size_t i = 0; i < trials_.size(); ++i)
    if (trials_[i].good) order.push_back(i);
  std::ranges::sort(order, [&](size_t a, size_t b) { return IsBetter(trials_[a], trials_[b]); });
  const auto plain = known_.find(options_.plain.Key());
  const bool has_plain = plain != known_.end() && trials_[plain->second].good;
  order.resize(std::min(order.size(), kFastest));
  if (has_plain && std::ranges::count(order, plain->second) == 0) order.push_back(plain->second);
  return order;
}

absl::StatusOr<double> TuneSearch::FinalThroughputOf(const Candidate& candidate) {
  const std::string key = candidate.Key();
  if (options_.log != nullptr)
    if (const auto known = options_.log->FindNumber("final", key)) return *known;
  ASSIGN_OR_RETURN(const double throughput, options_.throughput_of(candidate));
  if (options_.log != nullptr) RETURN_IF_ERROR(options_.log->AddNumber("final", key, throughput));
  return throughput;
}

absl::Status TuneSearch::RunFinal() {
  if (options_.objective != Objective::kThroughput || !options_.throughput_of || is_stopped())
    return absl::OkStatus();
  for (const size_t i : Finalists()) {
    ASSIGN_OR_RETURN(trials_[i].measured.throughput_per_s, FinalThroughputOf(trials_[i].candidate));
    finalists_.insert(trials_[i].id);
  }
  return absl::OkStatus();
}

Candidate Without(const TuneSearch& search, Candidate start, std::span<const size_t> layers) {
  for (const size_t layer : layers) start.layers[search.layers()[layer].name] = HigherPrecision();
  return start;
}

absl::StatusOr<std::vector<double>> NoiseOfEachLayer(TuneSearch& search, const Candidate& start) {
  // A few at a time, so that an interruption is heard.
  constexpr size_t kTogether = 4;
  ASSIGN_OR_RETURN(const std::vector<double> all, search.NoiseOf({&start, 1}));
  std::vector<double> added;
  for (size_t first = 0; first < search.layers().size(); first += kTogether) {
    std::vector<Candidate> candidates;
    for (size_t i = first; i < std::min(first + kTogether, search.layers().size()); ++i)
      candidates.push_back(Without(search, start, {{i}}));
    ASSIGN_OR_RETURN(const std::vector<double> noises, search.NoiseOf(candidates));
    for (const double noise : noises) added.push_back(all[0] - noise);
  }
  return added;
}

}  // namespace hachi
