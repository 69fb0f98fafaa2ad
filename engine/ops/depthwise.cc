#include "engine/ops/depthwise.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/base/status_macros.h"
#include "engine/kernels/depthwise.h"
#include "engine/ops/fused_result.h"

namespace hachi {
namespace {

bool IsOneOf(int64_t value, int64_t a, int64_t b) { return value == a || value == b; }

absl::Status CheckTypes(const ConvolutionSpec& spec) {
  if (spec.src.dtype != DType::kU8 || !spec.src.is_quantized_byte() || !spec.weight_quant)
    return absl::UnimplementedError("input is no u8 with a scale, expected one");
  if (!spec.dst.is_quantized_byte())
    return absl::UnimplementedError("output is no u8 or s8 with a scale, expected one");
  for (const TensorSpec& tensor : {spec.src, spec.dst})
    if (tensor.layout != Layout::ChannelsLast(tensor.shape.size()))
      return absl::UnimplementedError(
          absl::StrCat("a layout is ", tensor.layout.ToText(), ", expected channels_last"));
  return absl::OkStatus();
}

absl::Status CheckGeometry(const ConvolutionSpec& spec) {
  const Shape& weights = spec.weights->shape();
  if ((weights != Shape{spec.groups, 1, 3, 3} && weights != Shape{spec.groups, 1, 5, 5}) ||
      spec.src.shape[1] != spec.groups)
    return absl::UnimplementedError(absl::StrCat("weights are ", ShapeText(weights), " in ", spec.groups,
                                                 " groups, expected one filter of 3 x 3 or 5 x 5 a channel"));
  if (!IsOneOf(spec.strides[0], 1, 2) || !IsOneOf(spec.strides[1], 1, 2))
    return absl::UnimplementedError(
        absl::StrCat("strides are ", ShapeText(spec.strides), ", expected each to be 1 or 2"));
  if (spec.dilations[0] != 1 || spec.dilations[1] != 1)
    return absl::UnimplementedError(
        absl::StrCat("dilations are ", ShapeText(spec.dilations), ", expected [1,1]"));
  return CheckFused(spec, /*adds_residual=*/false);
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
  FusedResult result = FusedResult::Of(spec);
  const auto weights = spec.weights->As<int8_t>();
  return {.height = spec.src.shape[2],
          .width = spec.src.shape[3],
          .channels = spec.groups,
          .out_height = spec.dst.shape[2],
          .out_width = spec.dst.shape[3],
          .kernel = spec.weights->shape()[2],
          .stride_y = spec.strides[0],
          .stride_x = spec.strides[1],
          .pad_top = spec.pads_begin[0],
          .pad_left = spec.pads_begin[1],
          .zero_point = static_cast<uint8_t>(spec.src.quant->zero_point()),
          .to = spec.dst.dtype,
          .lowest = result.bounds.lowest,
          .highest = result.bounds.highest,
          .weights = {weights.begin(), weights.end()},
          .factor = std::move(result.arithmetic.factor),
          .offset = std::move(result.arithmetic.offset),
          .fused = std::move(result.fused)};
}

}  // namespace

absl::StatusOr<StepMaker> TakeDepthwise(const ConvolutionSpec& spec) {
  RETURN_IF_ERROR(CheckTypes(spec));
  RETURN_IF_ERROR(CheckGeometry(spec));
  return [spec] { return std::make_unique<DepthwiseStep>(KernelOf(spec), spec.src.shape[0]); };
}

}  // namespace hachi
