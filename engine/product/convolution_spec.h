#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "engine/tensor/post_op.h"
#include "engine/tensor/quant_params.h"
#include "engine/tensor/tensor.h"
#include "engine/tensor/tensor_spec.h"

namespace hachi {

// A convolution as ONNX Conv defines it, over 1 to 3 spatial axes, with post-ops fused. src and dst
// channels-last for the fast kernels. Quantized src needs s8 weights with symmetric scales (one, or one for
// each output channel, axis 0). src and dst have one scale.
struct ConvolutionSpec {
  TensorSpec src, dst;
  std::shared_ptr<const Tensor> weights;    // [OC, IC/groups, spatial...], row-major; f32 or s8
  std::optional<QuantParams> weight_quant;  // for s8
  std::shared_ptr<const Tensor> bias;       // f32 [OC] or null
  int64_t groups = 1;
  AxisNumbers strides, dilations, pads_begin, pads_end;  // one for each spatial axis
  std::vector<PostOp> post_ops;
  std::vector<float> channel_factors;  // of the result, behind the post-ops, one for each channel; empty: 1
  std::optional<TensorSpec> residual;  // of a kAdd post-op; it lies in dst before the run
};

}  // namespace hachi
