#pragma once

#include "engine/quant/tensor_stats.h"

namespace hachi {

// What eight bits that reach from `low` to `high` keep of the values that were counted: decibels of their
// power over that of rounding and clipping. At most 200. REQUIRES: low < high.
double SignalToNoise(const Histogram& values, float low, float high);

}  // namespace hachi
