#include <algorithm>
#include <array>
#include <limits>
#include <map>
#include <span>

#include "engine/base/status_macros.h"
#include "engine/onednn/internal.h"
#include "engine/product/clip_bounds.h"

namespace hachi {
namespace {

using Kind = PostOp::Kind;

// Whether scaling the input scales the output: such operations work in units of dst's scale.
bool IsHomogeneous(const PostOp& post_op) {
  return post_op.kind == Kind::kClip || post_op.kind == Kind::kLeakyRelu || post_op.kind == Kind::kAdd;
}

bool IsQuantized(const TensorSpec& spec) { return spec.quant.has_value(); }

}  // namespace

absl::Status AppendEltwise(const PostOp& post_op, float unit, float scale, dnnl::post_ops& ops) {
  using dnnl::algorithm;
  const float alpha = post_op.alpha, beta = post_op.beta;
  switch (post_op.kind) {
    case Kind::kClip:
      if (alpha == 0.0f && beta == std::numeric_limits<float>::infinity()) {
        ops.append_eltwise(scale, algorithm::eltwise_relu, 0.0f, 0.0f);
      } else {
        ops.append_eltwise(scale, algorithm::eltwise_clip,
                           std::max(alpha / unit, std::numeric_limits<float>::lowest()),
                           std::min(beta / unit, std::numeric_limits<float>::max()));
      }
      return absl::OkStatus();
    case Kind::kLeakyRelu:
      ops.append_eltwise(scale, algorithm::eltwise_relu, alpha, 0.0f);
      return absl::OkStatus();
    case Kind::kSigmoid:
      ops.append_eltwise(scale, algorithm::eltwise_logistic, 0.0f, 0.0f);
      return absl::OkStatus();
    case Kind::kTanh:
      ops.append_eltwise(scale, algorithm::eltwise_tanh, 0.0f, 0.0f);
      return absl::OkStatus();
    case Kind::kHardSigmoid:
      ops.append_eltwise(1.0f, algorithm::eltwise_linear, alpha, beta);
      ops.append_eltwise(scale, algorithm::eltwise_clip, 0.0f, 1.0f);
      return absl::OkStatus();
    case Kind::kHardSwish:
      ops.append_eltwise(scale, algorithm::eltwise_hardswish, 0.0f, 0.0f);
      return absl::OkStatus();
    case Kind::kSwish:
      ops.append_eltwise(scale, algorithm::eltwise_swish, alpha, 0.0f);
      return absl::OkStatus();
    case Kind::kGelu:
      ops.append_eltwise(scale, algorithm::eltwise_gelu_erf, 0.0f, 0.0f);
      return absl::OkStatus();
    case Kind::kGeluTanh:
      ops.append_eltwise(scale, algorithm::eltwise_gelu_tanh, 0.0f, 0.0f);
      return absl::OkStatus();
    case Kind::kLinear:
      ops.append_eltwise(scale, algorithm::eltwise_linear, alpha, beta);
      return absl::OkStatus();
    case Kind::kElu:
      ops.append_eltwise(scale, algorithm::eltwise_elu, alpha, 0.0f);
      return absl::OkStatus();
    case Kind::kAdd:
      break;
  }
  return absl::InternalError("post-op add is not element-wise, expected it to be handled by the caller");
}

absl::Status CheckDistinct(const dnnl::post_ops& ops) {
  std::map<dnnl::algorithm, std::array<float, 3>> seen;
  for (int i = 0; i < ops.len(); ++i) {
    if (ops.kind(i) != dnnl::primitive::kind::eltwise) continue;
    dnnl::algorithm algorithm;
    std::array<float, 3> parameters;
    ops.get_params_eltwise(i, parameters[0], algorithm, parameters[1], parameters[2]);
    if (seen.emplace(algorithm, parameters).first->second != parameters)
      return absl::UnimplementedError(
          "two fused operations of one kind with different parameters have no kernel, expected one");
  }
  return absl::OkStatus();
}

dnnl::memory::desc ChannelFactors(int64_t channels, size_t rank) {
  dnnl::memory::dims dims(rank, 1), strides(rank, 1);
  dims[1] = channels;
  strides[0] = channels;
  return {dims, dnnl::memory::data_type::f32, strides};
}

absl::StatusOr<Requantization> MakeRequantization(const TensorSpec& src, const TensorSpec& dst,
                                                  const std::vector<float>& weight_scales, const Tensor* bias,
                                                  const std::vector<PostOp>& post_ops,
                                                  const TensorSpec* residual, int64_t channels,
                                                  int scale_mask, const std::vector<float>& factors) {
  if (IsQuantized(src) != !weight_scales.empty())
    return absl::UnimplementedError(
        "INT8 with FP32 operands mixed has no kernel, expected both INT8 or both FP32");
  if (!IsQuantized(src) && IsQuantized(dst))
    return absl::UnimplementedError(
        "an FP32 operation with INT8 result has no kernel, expected an FP32 result");
  Requantization result;
  result.attr.set_scratchpad_mode(dnnl::scratchpad_mode::user);

  const float src_scale = IsQuantized(src) ? src.quant->scale() : 1.0f;
  const float dst_scale = IsQuantized(dst) ? dst.quant->scale() : 1.0f;
  // In units of dst where every fused operation allows it; else in real units, rescaled at the end.
  const float unit = std::all_of(post_ops.begin(), post_ops.end(), IsHomogeneous) ? dst_scale : 1.0f;

  const bool int8 = IsQuantized(src);
  if (int8) {
    for (const float weight_scale : weight_scales)
      result.output_scales.push_back(src_scale * weight_scale / unit);
    result.attr.set_output_scales(result.output_scales.size() == 1 ? 0 : scale_mask, result.output_scales);
    if (src.quant->zero_point() != 0) result.attr.set_zero_points(DNNL_ARG_SRC, 0, {src.quant->zero_point()});
    if (IsQuantized(dst) && dst.quant->zero_point() != 0)
      result.attr.set_zero_points(DNNL_ARG_DST, 0, {dst.quant->zero_point()});
  }
  if (bias != nullptr) {
    const auto values = bias->As<float>();
    result.bias.assign(values.begin(), values.end());
    if (int8)
      for (int64_t c = 0; c < channels; ++c)
        result.bias[c] /= src_scale * weight_scales[weight_scales.size() == 1 ? 0 : c];
  }

  std::span<const PostOp> effective(post_ops);
  if (!effective.empty() && SaturationClips(effective.back(), dst))
    effective = effective.first(effective.size() - 1);
  dnnl::post_ops ops;
  float pending_scale = dst_scale / unit;  // still to divide by
  for (const PostOp& post_op : effective) {
    if (post_op.kind == Kind::kAdd) {
      if (residual == nullptr || result.has_residual)
        return absl::UnimplementedError(
            "two residuals on one operation have no kernel, expected at most one");
      if (residual->dtype != dst.dtype && (SizeOf(residual->dtype) != SizeOf(dst.dtype) || !IsQuantized(dst)))
        return absl::UnimplementedError(
            absl::StrCat("residual of type ", std::string(NameOf(residual->dtype)), " on a result of type ",
                         std::string(NameOf(dst.dtype)), " has no kernel, expected the same size"));
      if (IsQuantized(*residual)) {
        // Kernels for narrow groups take no zero point here; in front of all other post-ops the bias can
        // carry it.
        int32_t zero_point = residual->quant->zero_point();
        if (&post_op == &post_ops.front() && int8 && zero_point != 0) {
          result.bias.resize(channels, 0.0f);
          for (int64_t c = 0; c < channels; ++c)
            result.bias[c] -= residual->quant->scale() * static_cast<float>(zero_point) /
                              (src_scale * weight_scales[weight_scales.size() == 1 ? 0 : c]);
          zero_point = 0;
        }
        ASSIGN_OR_RETURN(const auto type, ToDnnl(residual->dtype));
        ops.append_sum(residual->quant->scale() / unit, zero_point, type);
      } else {
        ops.append_sum(1.0f);
      }
      result.has_residual = true;
    } else {
      const bool last = &post_op == &effective.back();
      RETURN_IF_ERROR(AppendEltwise(post_op, unit, last ? 1.0f / pending_scale : 1.0f, ops));
      if (last) pending_scale = 1.0f;
    }
  }
  if (pending_scale != 1.0f)
    ops.append_eltwise(1.0f, dnnl::algorithm::eltwise_linear, 1.0f / pending_scale, 0.0f);
  RETURN_IF_ERROR(CheckDistinct(ops));
  if (!factors.empty()) {
    ops.append_binary(dnnl::algorithm::binary_mul, ChannelFactors(channels, dst.shape.size()));
    result.factors = factors;
  }
  result.attr.set_post_ops(ops);
  return result;
}

}  // namespace hachi
