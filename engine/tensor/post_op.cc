#include "engine/tensor/post_op.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "absl/strings/str_cat.h"

namespace hachi {

std::string ToText(const PostOp& post_op) {
  using Kind = PostOp::Kind;
  switch (post_op.kind) {
    case Kind::kClip:
      return absl::StrCat("clip(", post_op.alpha, ",", post_op.beta, ")");
    case Kind::kLeakyRelu:
      return absl::StrCat("leaky_relu(", post_op.alpha, ")");
    case Kind::kSigmoid:
      return "sigmoid()";
    case Kind::kTanh:
      return "tanh()";
    case Kind::kHardSigmoid:
      return absl::StrCat("hard_sigmoid(", post_op.alpha, ",", post_op.beta, ")");
    case Kind::kHardSwish:
      return "hard_swish()";
    case Kind::kSwish:
      return absl::StrCat("swish(", post_op.alpha, ")");
    case Kind::kGelu:
      return "gelu()";
    case Kind::kGeluTanh:
      return "gelu_tanh()";
    case Kind::kLinear:
      return absl::StrCat("linear(", post_op.alpha, ",", post_op.beta, ")");
    case Kind::kElu:
      return absl::StrCat("elu(", post_op.alpha, ")");
    case Kind::kAdd:
      return absl::StrCat("add(", post_op.operand, ")");
  }
  return "";
}

int ResidualOf(std::span<const PostOp> post_ops) {
  for (const PostOp& post_op : post_ops)
    if (post_op.kind == PostOp::Kind::kAdd) return post_op.operand;
  return -1;
}

bool KeepsFactors(const PostOp& post_op) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  return post_op.kind == PostOp::Kind::kLeakyRelu ||
         (post_op.kind == PostOp::Kind::kClip && post_op.alpha == 0.0f && post_op.beta == kInfinity);
}

float ApplyPostOp(const PostOp& post_op, float y, float operand) {
  using Kind = PostOp::Kind;
  const float alpha = post_op.alpha, beta = post_op.beta;
  switch (post_op.kind) {
    case Kind::kClip:
      return std::min(std::max(y, alpha), beta);
    case Kind::kLeakyRelu:
      return y < 0 ? alpha * y : y;
    case Kind::kSigmoid:
      return 1.0f / (1.0f + std::exp(-y));
    case Kind::kTanh:
      return std::tanh(y);
    case Kind::kHardSigmoid:
      return std::clamp(alpha * y + beta, 0.0f, 1.0f);
    case Kind::kHardSwish:
      return y * std::clamp(y / 6.0f + 0.5f, 0.0f, 1.0f);
    case Kind::kSwish:
      return y / (1.0f + std::exp(-alpha * y));
    case Kind::kGelu:
      return y * 0.5f * (1.0f + std::erf(y * 0.70710678f));
    case Kind::kGeluTanh:
      return y * 0.5f * (1.0f + std::tanh(0.79788456f * (y + 0.044715f * y * y * y)));
    case Kind::kLinear:
      return alpha * y + beta;
    case Kind::kElu:
      return y < 0 ? alpha * std::expm1(y) : y;
    case Kind::kAdd:
      return y + operand;
  }
  return y;
}

}  // namespace hachi
