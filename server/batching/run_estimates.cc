#include "server/batching/run_estimates.h"

#include <algorithm>

#include "server/batching/count_prefix.h"

namespace hachi::server {
namespace {

// Weight of the newest run in the moving average: about the last ten runs count. Guessed.
constexpr double kNewestRunWeight = 0.2;

// So many times the average is what a run counts at most: one that the system interrupted says little of the
// next. Guessed.
constexpr int kMostOfAverage = 2;

}  // namespace

RunEstimates::RunEstimates(const std::map<int64_t, absl::Duration>& measured) {
  for (const auto& [rows, time] : measured) Record(rows, time);
}

void RunEstimates::Record(int64_t rows, absl::Duration time) {
  auto size = std::ranges::lower_bound(sizes_, rows, {}, &Size::rows);
  if (size == sizes_.end() || size->rows != rows)
    size = sizes_.insert(size, {.rows = rows, .average = time, .estimate = {}});
  size->average += (std::min(time, size->average * kMostOfAverage) - size->average) * kNewestRunWeight;
  absl::Duration estimate;
  for (Size& each : sizes_) each.estimate = estimate = std::max(estimate, each.average);
}

absl::Duration RunEstimates::At(int64_t rows) const {
  if (sizes_.empty()) return absl::ZeroDuration();
  const auto above = std::ranges::lower_bound(sizes_, rows, {}, &Size::rows);
  if (above == sizes_.begin()) return above->estimate;
  const Size& low = *std::prev(above);
  if (above == sizes_.end())
    return low.estimate * (static_cast<double>(rows) / static_cast<double>(low.rows));
  const double part = static_cast<double>(rows - low.rows) / static_cast<double>(above->rows - low.rows);
  return low.estimate + (above->estimate - low.estimate) * part;
}

int64_t RunEstimates::RowsWithin(absl::Duration time, int64_t most) const {
  return CountPrefix(most, [&](int64_t rows) { return At(rows) <= time; });
}

}  // namespace hachi::server
