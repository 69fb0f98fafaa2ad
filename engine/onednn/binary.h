#pragma once

#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/onednn/primitive.h"
#include "engine/tensor/post_op.h"
#include "engine/tensor/tensor_spec.h"

namespace hachi {

// An element-wise operation of two tensors with NumPy broadcasting, on reals or on integers with their
// scales.
struct BinarySpec {
  enum class Kind { kAdd, kSub, kMul, kDiv, kMax, kMin };
  Kind kind = Kind::kAdd;
  TensorSpec src, src1, dst;     // ranks equal: pad with 1s in front
  std::vector<PostOp> post_ops;  // element-wise only
};

// UNIMPLEMENTED where the library has no fast kernel, or gets it wrong: zero points other than 0 of the
// operands, but for kAdd and kSub.
absl::StatusOr<PrimitiveMaker> FindBinary(const BinarySpec& spec);

// y = post_op(x) on FP32 of any layout that src and dst share.
absl::StatusOr<PrimitiveMaker> FindEltwise(const PostOp& post_op, const TensorSpec& src);

}  // namespace hachi
