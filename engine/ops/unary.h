#pragma once

#include "engine/kernels/unary.h"
#include "engine/ops/op.h"

namespace hachi {

// FP32 through our kernel of a function.
absl::StatusOr<StepMaker> TakeUnary(UnaryFunction function, const LowerContext& context);

}  // namespace hachi
