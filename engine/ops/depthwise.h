#pragma once

#include <memory>

#include "absl/status/statusor.h"
#include "engine/onednn/convolution.h"
#include "engine/ops/step.h"

namespace hachi {

// A convolution on our depthwise kernel; UNIMPLEMENTED where it isn't one that the kernel takes: 3 × 3, one
// filter a channel, u8 with zero point 0 to u8 or s8, strides of 1 or 2, padding of 0 or 1, at most a clip
// fused, AVX-512 VNNI.
absl::StatusOr<std::unique_ptr<Step>> MakeDepthwiseStep(const ConvolutionSpec& spec);

}  // namespace hachi
