#include "engine/kernels/fused_ops.h"

namespace hachi {

bool HasVectorForm(const PostOp& post_op) {
  using Kind = PostOp::Kind;
  switch (post_op.kind) {
    case Kind::kClip:
    case Kind::kLeakyRelu:
    case Kind::kSigmoid:
    case Kind::kHardSigmoid:
    case Kind::kHardSwish:
    case Kind::kSwish:
    case Kind::kLinear:
      return true;
    default:
      return false;
  }
}

}  // namespace hachi
