#pragma once

#include "engine/kernels/unary.h"
#include "engine/ops/op.h"

// What the operators share that map each real number by a function which is no post-op.
namespace hachi {

struct UnaryOp {
  UnaryFunction kernel;
  double (*function)(double);  // what it computes
};

// A real number in and out, of input 0's shape.
absl::Status InferUnary(Node& node);

absl::Status ReferenceUnary(const UnaryOp& op, const Node& node, std::span<const TensorView> inputs,
                            std::span<Tensor> outputs);

// FP32 through our kernel.
absl::StatusOr<StepMaker> TakeUnary(UnaryFunction function, const LowerContext& context);

// u8 and s8 through a table of all 256 results, FP32 through our kernel.
std::vector<Offer> UnaryOffers(const UnaryOp& op);

}  // namespace hachi
