#pragma once

#include "engine/ops/op.h"

// What the operators share whose nodes are one post-op (OpDef::as_post_op): an OpDef of theirs is these three
// functions and the post-op.
namespace hachi {

// Real numbers in and out, of input 0's shape.
absl::Status InferActivation(Node& node);

absl::Status ReferenceActivation(const Node& node, std::span<const TensorView> inputs,
                                 std::span<Tensor> outputs);

// FP32 through oneDNN; u8 and s8 through a table of all 256 results, fused post-ops included.
std::vector<Offer> ActivationOffers();

}  // namespace hachi
