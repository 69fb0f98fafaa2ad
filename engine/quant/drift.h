#pragma once

#include "engine/quant/tensor_stats.h"

namespace hachi {

// How far what is seen now lies from what calibration saw: the population stability index over about twenty
// parts of calibration's values of equal size, and what lies below and above them, the sum of (now - then) *
// ln(now / then). 0: as it was; below
// 0.1 is commonly taken for no change, above 0.25 for one that matters. A part that holds nothing counts as
// one of a ten-thousandth. 0 where either is empty. Values of hundreds of rows are wanted for a steady
// number.
double PopulationStability(const Histogram& then, const Histogram& now);

// What values came to of the range [low, high] that integers reach.
struct RangeUse {
  double clipped = 0;  // share of the values that lie beyond it by more than a quarter of a percent of it
  double used = 0;     // share of the range between the least and the greatest value, 0 to 1
};

// REQUIRES: low < high, and there are finite values.
RangeUse UseOfRange(const TensorStats& values, float low, float high);

}  // namespace hachi
