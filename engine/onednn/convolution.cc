#include "engine/onednn/convolution.h"

#include "engine/base/status_macros.h"
#include "engine/onednn/internal.h"
#include "engine/onednn/packing.h"

namespace hachi {

namespace {

// The convolution with spatial axes of one pixel, which nothing is done along, in front of the others: the
// library works on rows of the last axis, and such a row has nothing to share weights with. Bytes lie the
// same.
struct Turned {
  ConvolutionSpec spec;
  Shape weights;  // their shape

  explicit Turned(const ConvolutionSpec& from) : spec(from), weights(from.weights->shape()) {
    const size_t axes = spec.strides.size();
    std::vector<size_t> order;
    for (const bool unit : {true, false})
      for (size_t axis = 0; axis < axes; ++axis)
        if (IsUnit(from, axis) == unit) order.push_back(axis);
    const auto turn = [&](auto& numbers, size_t skip) {
      const auto before = numbers;
      for (size_t i = 0; i < axes; ++i) numbers[skip + i] = before[skip + order[i]];
    };
    for (Shape* shape : {&spec.src.shape, &spec.dst.shape, &weights}) turn(*shape, 2);
    if (spec.residual) turn(spec.residual->shape, 2);
    for (AxisNumbers* numbers : {&spec.strides, &spec.dilations, &spec.pads_begin, &spec.pads_end})
      turn(*numbers, 0);
  }

  static bool IsUnit(const ConvolutionSpec& from, size_t axis) {
    return from.src.shape[2 + axis] == 1 && from.dst.shape[2 + axis] == 1 &&
           from.weights->shape()[2 + axis] == 1 && from.pads_begin[axis] == 0 && from.pads_end[axis] == 0;
  }
};

}  // namespace

absl::StatusOr<PrimitiveMaker> FindConvolution(const ConvolutionSpec& given, WeightCache& cache) {
  const Turned turned(given);
  const ConvolutionSpec& spec = turned.spec;
  const int64_t out_channels = turned.weights[0];
  const bool grouped = spec.groups > 1;
  std::vector<float> weight_scales;
  if (spec.weight_quant) weight_scales = spec.weight_quant->scales;
  ASSIGN_OR_RETURN(Requantization requantization,
                   MakeRequantization(spec.src, spec.dst, weight_scales, spec.bias.get(), spec.post_ops,
                                      spec.residual ? &*spec.residual : nullptr, out_channels, 1 << 1,
                                      spec.channel_factors));
  ASSIGN_OR_RETURN(const auto src, ToDnnl(spec.src));
  ASSIGN_OR_RETURN(const auto dst, ToDnnl(spec.dst));
  ASSIGN_OR_RETURN(const auto weight_type, ToDnnl(spec.weights->dtype()));

  dnnl::memory::dims weight_dims(turned.weights.begin(), turned.weights.end());
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
    const Weights weights{{weight_dims, weight_type, RowMajorStrides(weight_dims)}, spec.weights, cache};
    ASSIGN_OR_RETURN(const auto chosen, Choose(describe, weights));
    return MakerOf<dnnl::convolution_forward>(
        chosen, src, dst, weights, {bias, std::move(requantization.bias)},
        {ChannelFactors(out_channels, spec.dst.shape.size()), std::move(requantization.factors)});
  });
}

absl::StatusOr<PrimitiveMaker> FindDeconvolution(const ConvolutionSpec& spec, WeightCache& cache) {
  for (size_t axis = 0; axis < spec.strides.size(); ++axis) {
    // The library computes wrong numbers there of bytes, and none at all further out.
    const int64_t least = spec.weight_quant ? 0 : 1 - spec.strides[axis];
    if (spec.pads_begin[axis] < 0 || spec.pads_end[axis] < least)
      return absl::UnimplementedError(absl::StrCat("the result reaches ", -spec.pads_end[axis],
                                                   " pixels beyond spatial axis ", axis,
                                                   ", expected at most ", -least));
  }
  const Shape& shape = spec.weights->shape();
  const int64_t out_channels = shape[1] * spec.groups;
  std::vector<float> weight_scales;  // one, or one for each channel of the result: groups share them
  if (spec.weight_quant) weight_scales = spec.weight_quant->scales;
  if (weight_scales.size() > 1)
    for (int64_t c = shape[1]; c < out_channels; ++c) weight_scales.push_back(weight_scales[c - shape[1]]);
  ASSIGN_OR_RETURN(Requantization requantization,
                   MakeRequantization(spec.src, spec.dst, weight_scales, spec.bias.get(), spec.post_ops,
                                      nullptr, out_channels, 1 << 1));
  ASSIGN_OR_RETURN(const auto src, ToDnnl(spec.src));
  ASSIGN_OR_RETURN(const auto dst, ToDnnl(spec.dst));
  ASSIGN_OR_RETURN(const auto weight_type, ToDnnl(spec.weights->dtype()));

  // [groups, OC/groups, IC/groups, spatial...], as strides over what is there.
  dnnl::memory::dims plain_dims{spec.groups, shape[1], shape[0] / spec.groups};
  plain_dims.insert(plain_dims.end(), shape.begin() + 2, shape.end());
  const int64_t pixels = CountOf(std::span(shape).subspan(2));
  dnnl::memory::dims plain_strides = RowMajorStrides(plain_dims);
  plain_strides[1] = pixels;
  plain_strides[2] = shape[1] * pixels;
  if (spec.groups == 1) {
    plain_dims.erase(plain_dims.begin());
    plain_strides.erase(plain_strides.begin());
  }
  const dnnl::memory::dims strides(spec.strides.begin(), spec.strides.end());
  dnnl::memory::dims dilations(spec.dilations.begin(), spec.dilations.end());
  for (auto& dilation : dilations) --dilation;  // the library counts the gaps
  const dnnl::memory::dims pads_begin(spec.pads_begin.begin(), spec.pads_begin.end());
  const dnnl::memory::dims pads_end(spec.pads_end.begin(), spec.pads_end.end());

  return CatchDnnl("deconvolution", [&]() -> absl::StatusOr<PrimitiveMaker> {
    using dnnl::memory;
    const memory::desc bias =
        requantization.bias.empty()
            ? memory::desc()
            : memory::desc({out_channels}, memory::data_type::f32, memory::format_tag::a);
    const auto describe = [&](const memory::desc& packed) {
      const dnnl::deconvolution_forward::desc desc(dnnl::prop_kind::forward_inference,
                                                   dnnl::algorithm::deconvolution_direct, src, packed, bias,
                                                   dst, strides, dilations, pads_begin, pads_end);
      return dnnl::deconvolution_forward::primitive_desc(desc, requantization.attr, CpuEngine(),
                                                         /*allow_empty=*/true);
    };
    const Weights weights{{plain_dims, weight_type, plain_strides}, spec.weights, cache};
    ASSIGN_OR_RETURN(const auto chosen, Choose(describe, weights));
    return MakerOf<dnnl::deconvolution_forward>(chosen, src, dst, weights,
                                                {bias, std::move(requantization.bias)});
  });
}

}  // namespace hachi
