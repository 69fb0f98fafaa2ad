#pragma once

#include <memory>

#include "absl/status/statusor.h"
#include "engine/onednn/primitive.h"
#include "engine/tensor/tensor_spec.h"

namespace hachi {

// Max or average pooling over 1 to 3 spatial axes; channels-last for the fast kernels.
struct PoolingSpec {
  enum class Kind { kMax, kAverageWithPadding, kAverageWithoutPadding };
  Kind kind = Kind::kMax;
  TensorSpec src, dst;  // the same type; kMax: also the same quantization
  AxisNumbers kernel, strides, dilations, pads_begin, pads_end;
};

absl::StatusOr<PrimitiveMaker> FindPooling(const PoolingSpec& spec);

}  // namespace hachi
