#pragma once

#include "absl/status/statusor.h"
#include "engine/ops/op.h"
#include "engine/product/convolution_spec.h"

namespace hachi {

// A convolution on our depthwise kernel: 3 × 3, one filter a channel, u8 with zero point 0 to u8 or s8,
// strides of 1 or 2, padding of 0 or 1, at most a clip fused. Needs AVX-512 VNNI.
absl::StatusOr<StepMaker> TakeDepthwise(const ConvolutionSpec& spec);

}  // namespace hachi
