#pragma once

#include <string_view>

#include "absl/status/statusor.h"
#include "engine/quant/tensor_stats.h"
#include "engine/tensor/dtype.h"
#include "engine/tensor/quant_params.h"

namespace hachi {

// How much of what was seen the integers reach; what lies beyond saturates. All read the stored histogram
// only.
enum class RangeMethod {
  kAuto,        // of the others, the one with the smallest measured error
  kMinMax,      // all of it
  kPercentile,  // all but 0.01 % of the values: the extreme ones, on both sides where both occur
  kEntropy,     // the range whose quantized distribution diverges least (Kullback-Leibler) from the seen one
  kMse,         // the range with the least mean squared error, by search
};

// "auto", "min_max", "percentile", "entropy", "mse".
std::string_view NameOf(RangeMethod method);
absl::StatusOr<RangeMethod> ParseRangeMethod(std::string_view name);

// How a tensor is stored as integers, per tensor.
struct ActivationQuant {
  DType dtype = DType::kU8;                   // or kS8
  QuantParams params;                         // zero stands for itself exactly
  double mse = 0;                             // mean squared error over what was seen
  RangeMethod method = RangeMethod::kMinMax;  // that the range is from; never kAuto
};

// u8 with zero point 0 for a tensor that was never negative; else s8 with zero point 0, or u8 with whatever
// zero point fits, if that measures better by more than 10 %. INVALID_ARGUMENT when !stats.quantizable():
// such a tensor stays FP32. Of a range without counts all values count as equally likely: it is taken whole.
absl::StatusOr<ActivationQuant> ChooseActivationQuant(const TensorStats& stats, RangeMethod method);

}  // namespace hachi
