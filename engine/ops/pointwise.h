#pragma once

#include "absl/status/statusor.h"
#include "engine/ops/op.h"
#include "engine/product/convolution_spec.h"
#include "engine/product/weight_cache.h"

namespace hachi {

// A convolution on our pointwise kernel, whose residual is the node's input number `residual` (-1: none),
// where it is the faster one: 1 × 1, stride 1, no padding or groups, few channels in (a multiple of 4), bytes
// to bytes, a residual and a clip at most fused. Needs AVX-512 VNNI.
absl::StatusOr<StepMaker> TakePointwise(const ConvolutionSpec& spec, int residual, WeightCache& cache);

}  // namespace hachi
