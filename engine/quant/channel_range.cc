#include "engine/quant/channel_range.h"

#include <algorithm>
#include <cmath>
#include <vector>

namespace hachi {
namespace {

constexpr double kWorthwhileBits = 0.5;  // that channels gain on the average. Guessed.

constexpr double kLeast = 1e-3;  // of the largest scale: channels that were next to zero could be anything

// The least scale with which integers from `lowest` to `highest` reach from `low` to `high`, zero standing at
// `zero_point`; infinite where they can't.
double ScaleOf(double low, double high, int lowest, int highest, int zero_point) {
  double scale = 0;
  if (high > 0) scale = std::max(scale, high / (highest - zero_point));
  if (low < 0) scale = std::max(scale, low / (lowest - zero_point));
  return scale;
}

struct Grid {
  std::vector<double> scales;
  double bits = INFINITY;  // the mean of the scales' logarithms: channels never meet, each has its own noise
};

Grid GridFor(const TensorStats& stats, int lowest, int highest, int zero_point) {
  Grid grid;
  double largest = 0;
  for (int64_t c = 0; c < stats.channels(); ++c) {
    grid.scales.push_back(ScaleOf(static_cast<double>(std::min(stats.ChannelMin(c), 0.0f)),
                                  static_cast<double>(std::max(stats.ChannelMax(c), 0.0f)), lowest, highest,
                                  zero_point));
    largest = std::max(largest, grid.scales.back());
  }
  if (!std::isfinite(largest) || largest <= 0) return grid;
  grid.bits = 0;
  for (double& scale : grid.scales) {
    scale = std::max(scale, largest * kLeast);
    grid.bits += std::log2(scale) / static_cast<double>(stats.channels());
  }
  return grid;
}

}  // namespace

std::optional<ActivationQuant> ChooseChannelQuant(const TensorStats& stats, int64_t channels,
                                                  const ActivationQuant& whole, bool signed_activations) {
  if (stats.channels() != channels || channels < 2 || stats.channel_axis() != ChannelAxis::kSecond ||
      !stats.quantizable())
    return std::nullopt;
  ActivationQuant best;
  Grid grid;
  const auto attempt = [&](DType dtype, int lowest, int highest, int zero_point) {
    Grid candidate = GridFor(stats, lowest, highest, zero_point);
    if (candidate.bits >= grid.bits) return;
    grid = std::move(candidate);
    best.dtype = dtype;
    best.params.zero_points.assign(static_cast<size_t>(channels), zero_point);
  };
  if (stats.min() >= 0) {
    attempt(DType::kU8, 0, 255, 0);
  } else {
    for (int zero_point = 4; zero_point < 252; zero_point += 4) attempt(DType::kU8, 0, 255, zero_point);
    if (signed_activations) attempt(DType::kS8, -128, 127, 0);
  }
  if (grid.bits > std::log2(static_cast<double>(whole.params.scale())) - kWorthwhileBits) return std::nullopt;
  best.params.scales.assign(grid.scales.begin(), grid.scales.end());
  best.params.axis = 1;
  return best;
}

}  // namespace hachi
