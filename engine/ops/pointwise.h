#pragma once

#include "absl/status/statusor.h"
#include "engine/kernels/pointwise.h"
#include "engine/ops/op.h"
#include "engine/product/convolution_spec.h"
#include "engine/product/weight_cache.h"

namespace hachi {

// A convolution on our pointwise kernel, whose residual is the node's input number `residual` (-1: none),
// where it is the faster one: 1 × 1, stride 1, no padding or groups, few channels in (a multiple of 4), bytes
// to bytes or f32, CheckFused. Needs AVX-512 VNNI.
absl::StatusOr<StepMaker> TakePointwise(const ConvolutionSpec& spec, int residual, WeightCache& cache);

// The same for windows of few channels and many pixels, spectra say, which are copied side by side and then
// are the pixels: where a kernel of four channels a lane would be mostly empty.
absl::StatusOr<StepMaker> TakeWindows(const ConvolutionSpec& spec, int residual, WeightCache& cache);

// Whether the kernel has the convolution's types and layouts; UNIMPLEMENTED says which it lacks.
absl::Status CheckPointwiseTypes(const ConvolutionSpec& spec);

// The kernel for pixels that hold a whole window of the convolution each, [kernel..., channels], and zeros or
// anything up to a multiple of 4 bytes.
absl::StatusOr<Pointwise> MakePointwise(const ConvolutionSpec& spec, WeightCache& cache);

}  // namespace hachi
