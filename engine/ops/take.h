#pragma once

#include "absl/status/status.h"
#include "engine/ops/op.h"

// Pieces that offers' take functions are made of. All return UNIMPLEMENTED saying what was found and
// expected.
namespace hachi {

// The elements of two tensors of one shape lie in the same order.
absl::Status CheckOneLayout(const TensorSpec& src, const TensorSpec& dst);

// The value is row-major.
absl::Status CheckRowMajor(const LowerContext& context, const Value* value);

// The node has no post-ops.
absl::Status CheckNothingFused(const Node& node);

}  // namespace hachi
