#include "engine/onednn/pooling.h"

#include "engine/base/status_macros.h"
#include "engine/onednn/internal.h"

namespace hachi {

absl::StatusOr<PrimitiveMaker> FindPooling(const PoolingSpec& spec) {
  using Kind = PoolingSpec::Kind;
  if (spec.src.dtype != spec.dst.dtype || (spec.kind == Kind::kMax && spec.src.quant != spec.dst.quant))
    return absl::UnimplementedError("pooling that changes the type has no kernel, expected one type");
  ASSIGN_OR_RETURN(const auto src, ToDnnl(spec.src));
  ASSIGN_OR_RETURN(const auto dst, ToDnnl(spec.dst));
  dnnl::primitive_attr attr;
  attr.set_scratchpad_mode(dnnl::scratchpad_mode::user);
  if (spec.src.quant && spec.src.quant != spec.dst.quant) {
    // Padding is zero, which integers with a zero point do not have at 0.
    if (spec.kind == Kind::kAverageWithPadding && spec.src.quant->zero_point() != 0)
      return absl::UnimplementedError(
          "average pooling over padding has no kernel for a zero point other than 0");
    const float ratio = spec.src.quant->scale() / spec.dst.quant->scale();
    const float shift = static_cast<float>(spec.dst.quant->zero_point()) -
                        ratio * static_cast<float>(spec.src.quant->zero_point());
    dnnl::post_ops ops;
    ops.append_eltwise(1.0f, dnnl::algorithm::eltwise_linear, ratio, shift);
    attr.set_post_ops(ops);
  }
  const auto algorithm = spec.kind == Kind::kMax ? dnnl::algorithm::pooling_max
                         : spec.kind == Kind::kAverageWithPadding
                             ? dnnl::algorithm::pooling_avg_include_padding
                             : dnnl::algorithm::pooling_avg_exclude_padding;
  const auto dims = [](std::span<const int64_t> values) {
    return dnnl::memory::dims(values.begin(), values.end());
  };
  dnnl::memory::dims dilations = dims(spec.dilations);
  for (auto& dilation : dilations) --dilation;  // the library counts the gaps
  return CatchDnnl("pooling", [&]() -> absl::StatusOr<PrimitiveMaker> {
    const dnnl::pooling_v2_forward::desc desc(dnnl::prop_kind::forward_inference, algorithm, src, dst,
                                              dims(spec.strides), dims(spec.kernel), dilations,
                                              dims(spec.pads_begin), dims(spec.pads_end));
    const dnnl::pooling_v2_forward::primitive_desc chosen(desc, attr, CpuEngine(), /*allow_empty=*/true);
    if (!chosen)
      return absl::UnimplementedError("oneDNN has no pooling for this combination of types and layouts");
    return MakerOf<dnnl::pooling_v2_forward>(chosen, src, dst);
  });
}

}  // namespace hachi
