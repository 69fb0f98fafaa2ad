#pragma once

#include <algorithm>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "engine/kernels/fused_ops.h"
#include "engine/product/channel_arithmetic.h"
#include "engine/product/clip_bounds.h"

namespace hachi {

// What our kernels do to a convolution's sums: the arithmetic of a channel, then what is fused. Where that is
// at most a residual in front of a clip, sums become the result's integers at once.
struct FusedResult {
  ChannelArithmetic arithmetic;
  FusedOps fused;
  ClipBounds bounds = {0, 0};  // of a quantized result

  // REQUIRES: CheckFused; bytes with a scale in, and out those or f32.
  static FusedResult Of(const ConvolutionSpec& spec) {
    FusedResult result;
    result.fused.post_ops = spec.post_ops;
    std::vector<PostOp>& post_ops = result.fused.post_ops;
    if (!post_ops.empty() && post_ops.front().kind == PostOp::Kind::kAdd) post_ops.erase(post_ops.begin());
    if (spec.dst.quant) {
      const bool clips =
          !post_ops.empty() && post_ops.back().kind == PostOp::Kind::kClip && spec.channel_factors.empty();
      result.bounds = ClipBounds::Of(clips ? post_ops : std::vector<PostOp>(), spec.dst);
      if (clips) post_ops.pop_back();
    }
    ConvolutionSpec sums = spec;
    if (!post_ops.empty() || !spec.dst.quant) {  // sums become real numbers first
      sums.dst.quant = QuantParams::PerTensor(1.0f, 0);
      result.fused.factor = spec.channel_factors;
      result.fused.factor.resize(static_cast<size_t>(spec.weights->shape()[0]), 1.0f);
      if (spec.dst.quant) {
        for (float& factor : result.fused.factor) factor /= spec.dst.quant->scale();
        result.fused.zero_point = static_cast<float>(spec.dst.quant->zero_point());
      }
    }
    result.arithmetic = ChannelArithmetic::Of(sums);
    return result;
  }
};

// Whether what is fused, but for a residual in front where the kernel adds one, has a vector form.
inline absl::Status CheckFused(const ConvolutionSpec& spec, bool adds_residual) {
  for (const PostOp& post_op : spec.post_ops) {
    const bool residual =
        post_op.kind == PostOp::Kind::kAdd && adds_residual && &post_op == &spec.post_ops.front();
    if (!residual && !HasVectorForm(post_op))
      return absl::UnimplementedError(
          absl::StrCat(ToText(post_op), " is fused, expected what has a vector form"));
  }
  return absl::OkStatus();
}

}  // namespace hachi
