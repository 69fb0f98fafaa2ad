#include "engine/onednn/binary.h"

#include <algorithm>

#include "engine/base/status_macros.h"
#include "engine/onednn/internal.h"
#include "engine/product/clip_bounds.h"

namespace hachi {

absl::StatusOr<PrimitiveMaker> FindBinary(const BinarySpec& spec) {
  using Kind = BinarySpec::Kind;
  ASSIGN_OR_RETURN(const auto src, ToDnnl(spec.src));
  ASSIGN_OR_RETURN(const auto src1, ToDnnl(spec.src1));
  ASSIGN_OR_RETURN(const auto dst, ToDnnl(spec.dst));
  dnnl::primitive_attr attr;
  attr.set_scratchpad_mode(dnnl::scratchpad_mode::user);
  // s0 x0 op s1 x1, then zero points as one shift, the fused operations, and dst's own scale and zero point.
  // Everything is in units of dst's scale where operation and post-ops allow it: then there is one shift.
  const bool additive = spec.kind == Kind::kAdd || spec.kind == Kind::kSub;
  const auto only = [&](std::initializer_list<PostOp::Kind> kinds) {
    return std::all_of(spec.post_ops.begin(), spec.post_ops.end(), [&](const PostOp& post_op) {
      return std::find(kinds.begin(), kinds.end(), post_op.kind) != kinds.end();
    });
  };
  const float dst_scale = spec.dst.quant ? spec.dst.quant->scale() : 1.0f;
  const auto dst_zero = static_cast<float>(spec.dst.quant ? spec.dst.quant->zero_point() : 0);
  const float unit = additive && only({PostOp::Kind::kClip, PostOp::Kind::kLeakyRelu}) ? dst_scale : 1.0f;
  const bool shifts_once = unit == dst_scale && additive && only({PostOp::Kind::kClip});
  float shift = shifts_once ? dst_zero : 0.0f;
  const auto scale_of = [&](const TensorSpec& operand, int argument, float sign) -> absl::Status {
    const float scale = (operand.quant ? operand.quant->scale() : 1.0f) / unit;
    if (scale != 1.0f) attr.set_scales(argument, 0, {scale});
    if (!operand.quant || operand.quant->zero_point() == 0) return absl::OkStatus();
    if (!additive)
      return absl::UnimplementedError("this operation has no kernel for a zero point other than 0");
    shift -= sign * scale * static_cast<float>(operand.quant->zero_point());
    return absl::OkStatus();
  };
  RETURN_IF_ERROR(scale_of(spec.src, DNNL_ARG_SRC_0, 1.0f));
  RETURN_IF_ERROR(scale_of(spec.src1, DNNL_ARG_SRC_1, spec.kind == Kind::kSub ? -1.0f : 1.0f));
  dnnl::post_ops ops;
  if (shift != 0.0f) ops.append_eltwise(1.0f, dnnl::algorithm::eltwise_linear, 1.0f, shift);
  float pending = dst_scale / unit;  // still to divide by
  for (size_t i = 0; i < spec.post_ops.size(); ++i) {
    PostOp post_op = spec.post_ops[i];
    const bool last = i + 1 == spec.post_ops.size();
    if (last && SaturationClips(post_op, spec.dst)) break;
    if (shifts_once) {  // a clip of shifted numbers
      post_op.alpha += dst_zero * unit;
      post_op.beta += dst_zero * unit;
    }
    RETURN_IF_ERROR(AppendEltwise(post_op, unit, last ? 1.0f / pending : 1.0f, ops));
    if (last) pending = 1.0f;
  }
  if (!shifts_once && (pending != 1.0f || dst_zero != 0.0f))
    ops.append_eltwise(1.0f, dnnl::algorithm::eltwise_linear, 1.0f / pending, dst_zero);
  RETURN_IF_ERROR(CheckDistinct(ops));
  attr.set_post_ops(ops);

  const auto algorithm = [&] {
    switch (spec.kind) {
      case Kind::kAdd:
        return dnnl::algorithm::binary_add;
      case Kind::kSub:
        return dnnl::algorithm::binary_sub;
      case Kind::kMul:
        return dnnl::algorithm::binary_mul;
      case Kind::kDiv:
        return dnnl::algorithm::binary_div;
      case Kind::kMax:
        return dnnl::algorithm::binary_max;
      case Kind::kMin:
        return dnnl::algorithm::binary_min;
    }
    return dnnl::algorithm::undef;
  }();
  return CatchDnnl("binary", [&]() -> absl::StatusOr<PrimitiveMaker> {
    const dnnl::binary::primitive_desc chosen(dnnl::binary::desc(algorithm, src, src1, dst), attr,
                                              CpuEngine(),
                                              /*allow_empty=*/true);
    if (!chosen || FactsOf(chosen.impl_info_str()).reference)
      return absl::UnimplementedError(
          "oneDNN has no fast binary operation for these types and layouts, expected one");
    return MakerOf<dnnl::binary>(chosen, src, dst, src1);
  });
}

absl::StatusOr<PrimitiveMaker> FindEltwise(const PostOp& post_op, const TensorSpec& src) {
  // An eltwise primitive holds one function; a post-op may take two (hard sigmoid). Borrow the post-op's
  // spelling.
  dnnl::post_ops ops;
  RETURN_IF_ERROR(AppendEltwise(post_op, /*unit=*/1.0f, /*scale=*/1.0f, ops));
  ASSIGN_OR_RETURN(const auto desc, ToDnnl(src));
  return CatchDnnl("eltwise", [&]() -> absl::StatusOr<PrimitiveMaker> {
    float scale, alpha, beta;
    dnnl::algorithm algorithm;
    ops.get_params_eltwise(0, scale, algorithm, alpha, beta);
    dnnl::post_ops rest;
    for (int i = 1; i < ops.len(); ++i) {
      float rest_scale, rest_alpha, rest_beta;
      dnnl::algorithm rest_algorithm;
      ops.get_params_eltwise(i, rest_scale, rest_algorithm, rest_alpha, rest_beta);
      rest.append_eltwise(rest_scale, rest_algorithm, rest_alpha, rest_beta);
    }
    dnnl::primitive_attr attr;
    attr.set_scratchpad_mode(dnnl::scratchpad_mode::user);
    attr.set_post_ops(rest);
    const dnnl::eltwise_forward::primitive_desc chosen(
        dnnl::eltwise_forward::desc(dnnl::prop_kind::forward_inference, algorithm, desc, alpha, beta), attr,
        CpuEngine(), /*allow_empty=*/true);
    if (!chosen)
      return absl::UnimplementedError("oneDNN has no element-wise kernel for this type and layout");
    return MakerOf<dnnl::eltwise_forward>(chosen, desc, desc);
  });
}

}  // namespace hachi
