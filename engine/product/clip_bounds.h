#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>
#include <span>

#include "engine/tensor/post_op.h"
#include "engine/tensor/tensor_spec.h"

namespace hachi {

// The least and the greatest integer that a quantized u8 or s8 result can have: those of a clip that is the
// last fused operation, or of the type.
struct ClipBounds {
  int32_t lowest, highest;

  static ClipBounds Of(std::span<const PostOp> post_ops, const TensorSpec& dst) {
    constexpr float kInfinity = std::numeric_limits<float>::infinity();
    const bool clips = !post_ops.empty() && post_ops.back().kind == PostOp::Kind::kClip;
    const auto bound = [&](float real) -> int32_t {
      const float scale = dst.quant->scale();
      const int32_t zero_point = dst.quant->zero_point();
      return dst.dtype == DType::kS8 ? int32_t{QuantizeValue<int8_t>(real, scale, zero_point)}
                                     : int32_t{QuantizeValue<uint8_t>(real, scale, zero_point)};
    };
    return {bound(clips ? post_ops.back().alpha : -kInfinity),
            bound(clips ? post_ops.back().beta : kInfinity)};
  }
};

// Whether saturating to dst's type does what the post-op, a clip, would, but for rounding of the bounds.
// False for results without a scale; those with several have one zero point.
inline bool SaturationClips(const PostOp& post_op, const TensorSpec& dst) {
  if (post_op.kind != PostOp::Kind::kClip || !dst.quant) return false;
  constexpr float kRounding = 1 + 1e-6f;
  const auto zero_point = static_cast<float>(dst.quant->zero_points[0]);
  const float lowest = (dst.dtype == DType::kU8 ? 0.0f : -128.0f) - zero_point;
  const float highest = (dst.dtype == DType::kU8 ? 255.0f : 127.0f) - zero_point;
  return std::ranges::all_of(dst.quant->scales, [&](float scale) {
    return post_op.alpha <= lowest * scale / kRounding && post_op.beta >= highest * scale / kRounding;
  });
}

}  // namespace hachi
