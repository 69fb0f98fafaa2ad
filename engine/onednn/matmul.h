#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/onednn/primitive.h"
#include "engine/product/weight_cache.h"
#include "engine/tensor/post_op.h"
#include "engine/tensor/quant_params.h"
#include "engine/tensor/tensor.h"
#include "engine/tensor/tensor_spec.h"

namespace hachi {

// dst = src × weights + bias, with post-ops fused. Row-major.
struct MatMulSpec {
  TensorSpec
      src;  // [M, K] with constant weights (leading axes flattened by the caller: only then are they packed)
  TensorSpec dst;
  std::shared_ptr<const Tensor> weights;  // [K, N], or [N, K] when transposed; f32 or s8
  bool transposed = false;
  std::optional<QuantParams> weight_quant;  // for s8: symmetric, one scale or one for each column of [K, N]
  std::shared_ptr<const Tensor> bias;       // f32 [N] or null
  std::vector<PostOp> post_ops;
  std::optional<TensorSpec> residual;  // of a kAdd post-op; it lies in dst before the run
};

absl::StatusOr<PrimitiveMaker> FindMatMul(const MatMulSpec& spec, WeightCache& cache);

// dst = src × src1 where both are computed: equal rank of 2 and up, leading axes broadcast. Quantized
// operands are s8 or u8 per tensor (src1: s8 only).
struct BatchedMatMulSpec {
  TensorSpec src, src1, dst;
  std::vector<PostOp> post_ops;  // element-wise only
};

absl::StatusOr<PrimitiveMaker> FindBatchedMatMul(const BatchedMatMulSpec& spec);

}  // namespace hachi
