#pragma once

#include "engine/kernels/reduce.h"
#include "engine/ops/op.h"

// What ReduceMax, ReduceMean and ReduceSum share: the axes are input 1 (left out or empty: all of them, or
// none where noop_with_empty_axes is set), and stay as axes of one element unless keepdims is 0.
namespace hachi {

// f32, s32 or s64.
absl::Status InferReduction(Node& node);

absl::StatusOr<RowAxis> RowsOfReduction(const RowQuery& query);

absl::Status ReferenceReduction(const Node& node, std::span<const TensorView> inputs,
                                std::span<Tensor> outputs, Reduction reduction);

// FP32 through our kernel; axes that do not lie together in memory are brought together first.
std::vector<Offer> ReductionOffers(Reduction reduction);

}  // namespace hachi
