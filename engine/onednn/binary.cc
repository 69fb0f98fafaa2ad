#include "engine/onednn/binary.h"

#include "engine/base/status_macros.h"
#include "engine/onednn/internal.h"

namespace hachi {

absl::StatusOr<std::unique_ptr<Primitive>> MakeBinary(const BinarySpec& spec) {
  using Kind = BinarySpec::Kind;
  ASSIGN_OR_RETURN(const auto src, ToDnnl(spec.src));
  ASSIGN_OR_RETURN(const auto src1, ToDnnl(spec.src1));
  ASSIGN_OR_RETURN(const auto dst, ToDnnl(spec.dst));
  dnnl::primitive_attr attr;
  attr.set_scratchpad_mode(dnnl::scratchpad_mode::user);
  // s0 x0 op s1 x1, then the operands' zero points as one shift, the fused operations in real units, and last
  // dst's own scale and zero point.
  float shift = 0.0f;
  const auto scale_of = [&](const TensorSpec& operand, int argument, float sign) -> absl::Status {
    if (!operand.quant) return absl::OkStatus();
    const QuantParams& quant = *operand.quant;
    if (quant.zero_point() != 0 && spec.kind != Kind::kAdd && spec.kind != Kind::kSub)
      return absl::UnimplementedError("this operation has no kernel for a zero point other than 0");
    attr.set_scales(argument, 0, {quant.scale()});
    shift -= sign * quant.scale() * static_cast<float>(quant.zero_point());
    return absl::OkStatus();
  };
  RETURN_IF_ERROR(scale_of(spec.src, DNNL_ARG_SRC_0, 1.0f));
  RETURN_IF_ERROR(scale_of(spec.src1, DNNL_ARG_SRC_1, spec.kind == Kind::kSub ? -1.0f : 1.0f));
  dnnl::post_ops ops;
  if (shift != 0.0f) ops.append_eltwise(1.0f, dnnl::algorithm::eltwise_linear, 1.0f, shift);
  for (const PostOp& post_op : spec.post_ops)
    if (&post_op != &spec.post_ops.back() || !SaturationClips(post_op, spec.dst))
      RETURN_IF_ERROR(AppendEltwise(post_op, /*unit=*/1.0f, /*scale=*/1.0f, ops));
  if (spec.dst.quant)
    ops.append_eltwise(1.0f, dnnl::algorithm::eltwise_linear, 1.0f / spec.dst.quant->scale(),
                       static_cast<float>(spec.dst.quant->zero_point()));
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
  return CatchDnnl("binary", [&]() -> absl::StatusOr<std::unique_ptr<Primitive>> {
    const dnnl::binary::primitive_desc chosen(dnnl::binary::desc(algorithm, src, src1, dst), attr,
                                              CpuEngine(),
                                              /*allow_empty=*/true);
    if (!chosen)
      return absl::UnimplementedError("oneDNN has no binary operation for these types and layouts");
    auto impl = std::make_unique<Primitive::Impl>();
    impl->primitive = dnnl::binary(chosen);
    impl->kernel = chosen.impl_info_str();
    impl->src = src;
    impl->src1 = src1;
    impl->dst = dst;
    impl->scratch = chosen.scratchpad_desc();
    return std::make_unique<Primitive>(std::move(impl));
  });
}

absl::StatusOr<std::unique_ptr<Primitive>> MakeEltwise(const PostOp& post_op, const TensorSpec& src) {
  // An eltwise primitive holds one function; a post-op may take two (hard sigmoid). Borrow the post-op's
  // spelling.
  dnnl::post_ops ops;
  RETURN_IF_ERROR(AppendEltwise(post_op, /*unit=*/1.0f, /*scale=*/1.0f, ops));
  ASSIGN_OR_RETURN(const auto desc, ToDnnl(src));
  return CatchDnnl("eltwise", [&]() -> absl::StatusOr<std::unique_ptr<Primitive>> {
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
    auto impl = std::make_unique<Primitive::Impl>();
    impl->primitive = dnnl::eltwise_forward(chosen);
    impl->kernel = chosen.impl_info_str();
    impl->src = desc;
    impl->dst = desc;
    impl->scratch = chosen.scratchpad_desc();
    return std::make_unique<Primitive>(std::move(impl));
  });
}

}  // namespace hachi
