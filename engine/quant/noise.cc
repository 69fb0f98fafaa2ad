#include "engine/quant/noise.h"

#include <algorithm>
#include <cmath>

namespace hachi {

double SignalToNoise(const Histogram& values, float low, float high) {
  constexpr double kSteps = 255, kMost = 200;
  const double step = (double{high} - low) / kSteps;
  double power = 0, noise = 0;
  for (size_t i = 0; i < values.counts().size(); ++i) {
    const auto count = static_cast<double>(values.counts()[i]);
    const double middle = values.MiddleOf(i);
    const double beyond = middle - std::clamp<double>(middle, low, high);
    power += count * middle * middle;
    noise += count * (beyond * beyond + step * step / 12);
  }
  return power > 0 ? std::min(kMost, 10 * std::log10(power / noise)) : kMost;
}

}  // namespace hachi
