#include "engine/quant/drift.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

namespace hachi {
namespace {

double CountOfAll(const Histogram& histogram) {
  return std::accumulate(histogram.counts().begin(), histogram.counts().end(), 0.0,
                         [](double sum, uint64_t count) { return sum + static_cast<double>(count); });
}

// Calls `use` with the middle and the count of each bin that holds something, in ascending order.
template <typename Use>
void ForBins(const Histogram& histogram, Use use) {
  for (size_t i = 0; i < histogram.counts().size(); ++i)
    if (histogram.counts()[i] > 0) use(histogram.MiddleOf(i), static_cast<double>(histogram.counts()[i]));
}

// The upper bounds of parts with about equal counts, behind one for what lies below all that was seen; the
// last part has none. REQUIRES: something was seen.
std::vector<double> BoundsOfParts(const Histogram& histogram) {
  constexpr double kParts = 20;
  const double a_part = CountOfAll(histogram) / kParts, half_a_bin = histogram.width() / 2;
  std::vector<double> bounds;
  double held = 0;
  ForBins(histogram, [&](double middle, double count) {
    if (bounds.empty()) bounds.push_back(middle - half_a_bin);
    held += count;
    if (held < a_part) return;
    bounds.push_back(middle + half_a_bin);
    held = 0;
  });
  return bounds;
}

std::vector<double> SharesOfParts(const Histogram& histogram, const std::vector<double>& bounds) {
  constexpr double kLeast = 1e-4;
  const double all = CountOfAll(histogram);
  std::vector<double> shares(bounds.size() + 1);
  ForBins(histogram, [&](double middle, double count) {
    shares[static_cast<size_t>(std::ranges::lower_bound(bounds, middle) - bounds.begin())] += count / all;
  });
  for (double& share : shares) share = std::max(share, kLeast);
  return shares;
}

}  // namespace

double PopulationStability(const Histogram& then, const Histogram& now) {
  if (CountOfAll(then) == 0 || CountOfAll(now) == 0) return 0;
  const std::vector<double> bounds = BoundsOfParts(then);
  const std::vector<double> before = SharesOfParts(then, bounds), after = SharesOfParts(now, bounds);
  double index = 0;
  for (size_t i = 0; i < before.size(); ++i) index += (after[i] - before[i]) * std::log(after[i] / before[i]);
  return index;
}

RangeUse UseOfRange(const TensorStats& values, float low, float high) {
  constexpr double kNearlyInside = 0.0025;  // rounding alone moves values by half a step of 255
  const double reach = double{high} - low, slack = kNearlyInside * reach;
  double all = 0, beyond = 0;
  ForBins(values.histogram(), [&](double middle, double count) {
    all += count;
    if (middle < low - slack || middle > high + slack) beyond += count;
  });
  const double used = std::min<double>(values.max(), high) - std::max<double>(values.min(), low);
  return {.clipped = beyond / all, .used = std::clamp(used / reach, 0.0, 1.0)};
}

}  // namespace hachi
