#pragma once

#include "absl/status/statusor.h"
#include "engine/onednn/primitive.h"
#include "engine/product/convolution_spec.h"
#include "engine/product/weight_cache.h"

namespace hachi {

// UNIMPLEMENTED where the library has no fast kernel for the combination.
absl::StatusOr<PrimitiveMaker> FindConvolution(const ConvolutionSpec& spec, WeightCache& cache);

// The same for a transposed convolution (ONNX ConvTranspose): the convolution that would make src of dst.
// Weights are [IC, OC/groups, spatial...], with a scale for all or for each index of axis 1. pads_end may be
// negative: what lies behind is computed all the same.
absl::StatusOr<PrimitiveMaker> FindDeconvolution(const ConvolutionSpec& spec, WeightCache& cache);

}  // namespace hachi
