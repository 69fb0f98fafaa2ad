#pragma once

#include <span>
#include <string>
#include <vector>

namespace hachi {

// One operation fused behind a node's own, in real units. A node applies its list in order, before the result
// is stored (and quantized, where it is): y = op(x); for each post-op: y = post(y).
struct PostOp {
  enum class Kind {
    kClip,         // min(max(y, alpha), beta); Relu is Clip(0, infinity)
    kLeakyRelu,    // y < 0 ? alpha * y : y
    kSigmoid,      // 1 / (1 + exp(-y))
    kTanh,         // tanh(y)
    kHardSigmoid,  // min(max(alpha * y + beta, 0), 1)
    kHardSwish,    // y * min(max(y / 6 + 0.5, 0), 1)
    kSwish,        // y / (1 + exp(-alpha * y))
    kGelu,         // y / 2 * (1 + erf(y / sqrt(2)))
    kGeluTanh,     // y / 2 * (1 + tanh(sqrt(2 / pi) * (y + 0.044715 * y^3)))
    kLinear,       // alpha * y + beta
    kElu,          // y < 0 ? alpha * (exp(y) - 1) : y
    kAdd,          // y + the node's input number `operand`, of the same shape: a residual
  };
  Kind kind = Kind::kClip;
  float alpha = 0.0f;
  float beta = 0.0f;
  int operand = -1;  // kAdd: index into the node's inputs

  friend bool operator==(const PostOp&, const PostOp&) = default;
};

// "clip(0,6)", "add(3)"; the spelling of graph and plan text.
std::string ToText(const PostOp& post_op);

// The operand of the residual among them; -1: there is none.
int ResidualOf(std::span<const PostOp> post_ops);

// Whether it does to a positive multiple of a number what it does to the number, times that.
bool KeepsFactors(const PostOp& post_op);

// y after one post-op; `operand` is the other addend of kAdd and unused elsewhere. The definition of the
// right answer.
float ApplyPostOp(const PostOp& post_op, float y, float operand);

}  // namespace hachi
