#pragma once

#include "engine/ops/op.h"

// What the comparisons of two tensors share, which broadcast as NumPy does and give bool.
namespace hachi {

enum class Comparison { kEqual, kLess, kGreater };

// Two inputs of one type without a scale: f32, s32, s64, and bool for kEqual.
absl::Status InferComparison(Node& node, Comparison comparison);

absl::Status ReferenceComparison(std::span<const TensorView> inputs, std::span<Tensor> outputs,
                                 bool (*compare)(double, double));

std::vector<Offer> ComparisonOffers(Comparison comparison);

}  // namespace hachi
