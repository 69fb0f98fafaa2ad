#include "engine/ops/depthwise.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/base/status_macros.h"
#include "engine/kernels/depthwise.h"
#include "engine/product/channel_arithmetic.h"
#include "engine/product/clip_bounds.h"

namespace hachi {
namespace {

bool IsOneOf(int64_t value, int64_t a, int64_t b) { return value == a || value == b; }

absl::Status CheckTypes(const ConvolutionSpec& spec) {
  if (spec.src.dtype != DType::kU8 || !spec.src.is_quantized_byte() || !spec.weight_quant)
    return absl::UnimplementedError("input is no u8 with a scale, expected one");
  if (spec.src.quant->zero_point() != 0)
    return absl::UnimplementedError(
        absl::StrCat("zero point of the input is ", spec.src.quant->zero_point(), ", expected 0"));
  if (!spec.dst.is_quantized_byte())
    return absl::UnimplementedError("output is no u8 or s8 with a scale, expected one");
  for (const TensorSpec& tensor : {spec.src, spec.dst})
    if (tensor.layout != Layout::ChannelsLast(tensor.shape.size()))
      return absl::UnimplementedError(
          absl::StrCat("a layout is ", tensor.layout.ToText(), ", expected channels_last"));
  return absl::OkStatus();
}

absl::Status CheckGeometry(const ConvolutionSpec& spec) {
  if (const Shape& weights = spec.weights->shape();
      weights != Shape{spec.groups, 1, 3, 3} || spec.src.shape[1] != spec.groups)
    return absl::UnimplementedError(absl::StrCat("weights are ", ShapeText(weights), " in ", spec.groups,
                                                 " groups, expected one filter of 3 x 3 a channel"));
  if (spec.strides[0] != spec.strides[1] || !IsOneOf(spec.strides[0], 1, 2))
    return absl::UnimplementedError(
        absl::StrCat("strides are ", ShapeText(spec.strides), ", expected [1,1] or [2,2]"));
  if (spec.dilations[0] != 1 || spec.dilations[1] != 1)
    return absl::UnimplementedError(
        absl::StrCat("dilations are ", ShapeText(spec.dilations), ", expected [1,1]"));
  if (!IsOneOf(spec.pads_begin[0], 0, 1) || !IsOneOf(spec.pads_begin[1], 0, 1))
    return absl::UnimplementedError(
        absl::StrCat("padding in front is ", ShapeText(spec.pads_begin), ", expected 0 or 1"));
  if (!spec.channel_factors.empty() || spec.post_ops.size() > 1 ||
      (spec.post_ops.size() == 1 && spec.post_ops[0].kind != PostOp::Kind::kClip))
    return absl::UnimplementedError("more is fused than a clip, expected at most that");
  return absl::OkStatus();
}

class DepthwiseStep final : public KernelStep {
 public:
  DepthwiseStep(DepthwiseSpec spec, int64_t images) : kernel_(std::move(spec)), images_(images) {}

  bool Reads(size_t input) const override { return input == 0; }

 protected:
  absl::Status Run(const StepBuffers& buffers) const override {
    kernel_.Run(buffers.inputs[0], images_, buffers.outputs[0]);
    return absl::OkStatus();
  }

 private:
  const Depthwise kernel_;
  const int64_t images_;
};

DepthwiseSpec KernelOf(const ConvolutionSpec& spec) {
  const ClipBounds bounds = ClipBounds::Of(spec.post_ops, spec.dst);
  DepthwiseSpec kernel{.height = spec.src.shape[2],
                       .width = spec.src.shape[3],
                       .channels = spec.groups,
                       .out_height = spec.dst.shape[2],
                       .out_width = spec.dst.shape[3],
                       .stride = spec.strides[0],
                       .pad_top = spec.pads_begin[0],
                       .pad_left = spec.pads_begin[1],
                       .to = spec.dst.dtype,
                       .lowest = bounds.lowest,
                       .highest = bounds.highest};
  const auto weights = spec.weights->As<int8_t>();
  kernel.weights.assign(weights.begin(), weights.end());
  ChannelArithmetic arithmetic = ChannelArithmetic::Of(spec);
  kernel.factor = std::move(arithmetic.factor);
  kernel.offset = std::move(arithmetic.offset);
  return kernel;
}

}  // namespace

absl::StatusOr<StepMaker> TakeDepthwise(const ConvolutionSpec& spec) {
  RETURN_IF_ERROR(CheckTypes(spec));
  RETURN_IF_ERROR(CheckGeometry(spec));
  return [spec] { return std::make_unique<DepthwiseStep>(KernelOf(spec), spec.src.shape[0]); };
}

}  // namespace hachi
