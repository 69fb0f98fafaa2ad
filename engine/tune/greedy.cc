#include <array>
#include <string>
#include <utility>

#include "engine/base/status_macros.h"
#include "engine/tune/strategy.h"

namespace hachi {
namespace {

constexpr std::array kRanges = {RangeMethod::kAuto, RangeMethod::kMinMax, RangeMethod::kPercentile,
                                RangeMethod::kEntropy, RangeMethod::kMse};

// The candidate with least noise among those that differ in what the whole model runs with.
absl::StatusOr<Candidate> BestWhole(TuneSearch& search) {
  Candidate best = search.plain();
  ASSIGN_OR_RETURN(const Trial plain, search.Try(best));
  double least = plain.measured.score.noise;
  const auto look = [&](const Candidate& candidate) -> absl::Status {
    ASSIGN_OR_RETURN(const Trial trial, search.Try(candidate));
    if (trial.measured.score.noise < least) {
      least = trial.measured.score.noise;
      best = candidate;
    }
    return absl::OkStatus();
  };
  for (const RangeMethod range : kRanges) {
    Candidate other = search.plain();
    other.range = range;
    RETURN_IF_ERROR(look(other));
  }
  const Candidate of_ranges = best;
  for (bool Repairs::*const repair : {&Repairs::equalization, &Repairs::bias_correction}) {
    Candidate other = of_ranges;
    other.repairs.*repair = !(other.repairs.*repair);
    RETURN_IF_ERROR(look(other));
  }
  return best;
}

// Layers that were taken out may do in INT8 with a range of their own.
absl::StatusOr<Candidate> WithRangesOfTheirOwn(const TakenOut& taken, TuneSearch& search) {
  Candidate good = taken.candidate;
  for (const std::string& layer : taken.layers)
    for (const RangeMethod range : kRanges) {
      if (range == good.range) continue;
      Candidate other = good;
      other.layers[layer] = {.precision = Precision::kInt8, .range = range};
      ASSIGN_OR_RETURN(const bool is_good, search.IsGood(other));
      if (!is_good) continue;
      good = std::move(other);
      break;
    }
  return good;
}

}  // namespace

absl::Status SearchGreedily(TuneSearch& search) {
  ASSIGN_OR_RETURN(const Candidate whole, BestWhole(search));
  ASSIGN_OR_RETURN(const Trial start, search.Try(whole));
  Candidate good = whole;
  if (!start.good) {
    ASSIGN_OR_RETURN(const TakenOut taken, TakeOutWorstLayers(whole, search));
    if (!taken.good) return absl::OkStatus();
    ASSIGN_OR_RETURN(good, WithRangesOfTheirOwn(taken, search));
  }
  // What runs no slower in a higher precision.
  std::vector<size_t> free;
  for (size_t i = 0; i < search.layers().size(); ++i)
    if (search.layers()[i].cost <= absl::ZeroDuration()) free.push_back(i);
  if (free.empty()) return absl::OkStatus();
  return search.Try(Without(search, good, free)).status();
}

}  // namespace hachi
