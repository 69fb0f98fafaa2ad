#include "engine/onednn/convolution.h"

#include "engine/base/status_macros.h"
#include "engine/onednn/internal.h"
#include "engine/onednn/packing.h"

namespace hachi {

absl::StatusOr<PrimitiveMaker> FindConvolution(const ConvolutionSpec& spec, WeightCache& cache) {
  const int64_t out_channels = spec.weights->shape()[0];
  const bool grouped = spec.groups > 1;
  std::vector<float> weight_scales;
  if (spec.weight_quant) weight_scales = spec.weight_quant->scales;
  ASSIGN_OR_RETURN(Requantization requantization,
                   MakeRequantization(spec.src, spec.dst, weight_scales, spec.bias.get(), spec.post_ops,
                                      spec.residual ? &*spec.residual : nullptr, out_channels, 1 << 1));
  ASSIGN_OR_RETURN(const auto src, ToDnnl(spec.src));
  ASSIGN_OR_RETURN(const auto dst, ToDnnl(spec.dst));
  ASSIGN_OR_RETURN(const auto weight_type, ToDnnl(spec.weights->dtype()));

  dnnl::memory::dims weight_dims(spec.weights->shape().begin(), spec.weights->shape().end());
  if (grouped) {
    weight_dims[0] /= spec.groups;
    weight_dims.insert(weight_dims.begin(), spec.groups);
  }
  const dnnl::memory::dims strides(spec.strides.begin(), spec.strides.end());
  dnnl::memory::dims dilations(spec.dilations.begin(), spec.dilations.end());
  for (auto& dilation : dilations) --dilation;  // the library counts the gaps
  const dnnl::memory::dims pads_begin(spec.pads_begin.begin(), spec.pads_begin.end());
  const dnnl::memory::dims pads_end(spec.pads_end.begin(), spec.pads_end.end());

  return CatchDnnl("convolution", [&]() -> absl::StatusOr<PrimitiveMaker> {
    using dnnl::memory;
    const memory::desc bias =
        requantization.bias.empty()
            ? memory::desc()
            : memory::desc({out_channels}, memory::data_type::f32, memory::format_tag::a);
    const auto describe = [&](const memory::desc& weights) {
      const dnnl::convolution_forward::desc desc(dnnl::prop_kind::forward_inference,
                                                 dnnl::algorithm::convolution_direct, src, weights, bias, dst,
                                                 strides, dilations, pads_begin, pads_end);
      return dnnl::convolution_forward::primitive_desc(desc, requantization.attr, CpuEngine(),
                                                       /*allow_empty=*/true);
    };
    ASSIGN_OR_RETURN(const auto chosen,
                     Choose(describe, memory::desc(weight_dims, weight_type, memory::format_tag::any),
                            *spec.weights, cache));
    const memory::desc plain(weight_dims, weight_type, RowMajorStrides(weight_dims));
    return MakerOf<dnnl::convolution_forward>(chosen, src, dst, {plain, spec.weights, cache},
                                              {bias, std::move(requantization.bias)});
  });
}

}  // namespace hachi
