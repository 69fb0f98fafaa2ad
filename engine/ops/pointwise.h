#pragma once

#include <memory>

#include "absl/status/statusor.h"
#include "engine/onednn/convolution.h"
#include "engine/onednn/weight_cache.h"
#include "engine/ops/step.h"

namespace hachi {

// A convolution on our pointwise kernel, whose residual is the node's input number `residual` (-1: none).
// UNIMPLEMENTED where it isn't one that the kernel takes, or that it is the faster one for: 1 × 1, stride 1,
// no padding or groups, few channels in (a multiple of 4), bytes to bytes, a residual and a clip at most
// fused, AVX-512 VNNI.
absl::StatusOr<std::unique_ptr<Step>> MakePointwiseStep(const ConvolutionSpec& spec, int residual,
                                                        WeightCache& cache);

}  // namespace hachi
