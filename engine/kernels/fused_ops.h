#pragma once

#include <vector>

#include "engine/tensor/post_op.h"

namespace hachi {

// What a kernel does to real numbers before it stores them: post-ops, then y × factor[c] + zero_point, c
// being the channel.
struct FusedOps {
  std::vector<PostOp> post_ops;  // HasVectorForm of each; empty: there are none, and the rest is not used
  std::vector<float> factor;     // one a channel
  float zero_point = 0;
};

// Whether kernels that work on vectors of real numbers have the operation.
bool HasVectorForm(const PostOp& post_op);

}  // namespace hachi
