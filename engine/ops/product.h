#pragma once

#include "engine/ops/op.h"

// What Gemm and MatMul share: inputs a, b, then a bias for each column of the product and a residual of the
// output's shape (of a kAdd post-op), which may be left out.
namespace hachi {

// The matrices' types agree, a residual has the output's shape `dims`; sets the output.
absl::Status InferProduct(Node& node, SymbolicShape dims);

// `depth` elements of a matrix, `step` apart, from `begin` on.
struct Lane {
  const TensorView& view;
  const std::optional<QuantParams>& quant;
  int64_t begin, step;
};

// Sum of a[k] * b[k] in real units; integers are summed exactly. `channel` picks the scale of `b` where it
// has one for each. For references.
double Dot(const Lane& a, const Lane& b, int64_t depth, int64_t channel);

// How a node's operands lie for `src × weights`: src as [M, K] in its layout, weights [K, N] or [N, K].
struct ProductForm {
  Shape src_shape, dst_shape;
  Layout src_layout;
  bool transposed_weights = false;
  std::shared_ptr<const Tensor> bias;  // f32 [N] or null
};

// The library's kernel for a product with constant weights (input 1), post-ops and residual.
absl::StatusOr<StepMaker> TakeProduct(const LowerContext& context, const ProductForm& form);

// A bias of `columns` elements, times `factor`, from a constant that broadcasts along the columns of a
// matrix; UNIMPLEMENTED where it is computed or differs between rows.
absl::StatusOr<std::shared_ptr<const Tensor>> ColumnBias(const Value& value, int64_t columns, float factor);

}  // namespace hachi
