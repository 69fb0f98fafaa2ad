// Conv (ONNX opset 11), with an optional residual as a further input and post-ops fused.
#include <algorithm>
#include <memory>

#include "absl/strings/str_cat.h"
#include "engine/base/status_macros.h"
#include "engine/onednn/convolution.h"
#include "engine/ops/depthwise.h"
#include "engine/ops/infer.h"
#include "engine/ops/onednn_step.h"
#include "engine/ops/op.h"
#include "engine/ops/pointwise.h"
#include "engine/ops/quantized.h"
#include "engine/ops/window.h"
#include "engine/product/clip_bounds.h"

namespace hachi {
namespace {

absl::StatusOr<Window> WindowOf(const Node& node) {
  AxisNumbers kernel;
  for (const Dim& dim : *node.inputs[1]->dims) {
    const auto size = dim.constant();
    if (!size) return absl::UnimplementedError("weights have symbolic dimensions, expected numbers");
    kernel.push_back(*size);
  }
  kernel.erase(kernel.begin(), kernel.begin() + 2);
  const size_t axes = kernel.size();
  return Window::Read(node, axes, std::move(kernel));
}

absl::Status Infer(Node& node) {
  RETURN_IF_ERROR(CheckInputCount(node, 2, 4));
  RETURN_IF_ERROR(CheckOperand(node, 0));
  RETURN_IF_ERROR(CheckOperand(node, 1));
  if (node.inputs[0]->quant.has_value() != node.inputs[1]->quant.has_value())
    return absl::UnimplementedError("one of input and weights is quantized, expected both or none");
  if (node.inputs[1]->quant) RETURN_IF_ERROR(CheckInputType(node, 1, {DType::kS8}));
  if (node.input(2) != nullptr) RETURN_IF_ERROR(CheckInputType(node, 2, {DType::kF32}));
  RETURN_IF_ERROR(CheckRank(node, 0, 3, 5));
  const SymbolicShape& input = *node.inputs[0]->dims;
  RETURN_IF_ERROR(CheckRank(node, 1, input.size(), input.size()));
  ASSIGN_OR_RETURN(const int64_t groups, node.Int("group", 1));
  ASSIGN_OR_RETURN(const Window window, WindowOf(node));
  const Shape weights = *ConstantShape(*node.inputs[1]->dims);
  if (groups < 1 || weights[0] % groups != 0)
    return absl::InvalidArgumentError(
        absl::StrCat("group is ", groups, ", expected a divisor of ", weights[0]));
  if (input[1] != Dim(weights[1]) * Dim(groups))
    return absl::InvalidArgumentError(absl::StrCat("input has ", input[1].ToText(), " channels, expected ",
                                                   weights[1], " for each of ", groups, " groups"));
  if (!std::equal(window.kernel.begin(), window.kernel.end(), weights.begin() + 2, weights.end()))
    return absl::InvalidArgumentError(absl::StrCat("kernel_shape is ", ShapeText(window.kernel),
                                                   ", expected that of the weights ", ShapeText(weights)));
  if (const Value* bias = node.input(2); bias != nullptr && bias->dims != SymbolicShape{Dim(weights[0])})
    return absl::InvalidArgumentError(
        absl::StrCat("bias has shape ", ShapeText(*bias->dims), ", expected [", weights[0], "]"));
  ASSIGN_OR_RETURN(SymbolicShape dims, window.OutputDims(std::span<const Dim>(input).subspan(2)));
  dims.insert(dims.begin(), {input[0], Dim(weights[0])});
  return SetOutput(node, ProductType(node), std::move(dims));
}

float ScaleOf(const QuantParams& quant, int64_t channel) {
  return quant.scales[quant.per_tensor() ? 0 : static_cast<size_t>(channel)];
}

absl::Status Reference(const Node& node, std::span<const TensorView> inputs, std::span<Tensor> outputs) {
  const TensorView& x = inputs[0];
  const TensorView& w = inputs[1];
  Tensor& y = outputs[0];
  ASSIGN_OR_RETURN(const int64_t groups, node.Int("group", 1));
  ASSIGN_OR_RETURN(Window window, WindowOf(node));
  window = window.For(x.shape.subspan(2), std::span(y.shape()).subspan(2));
  const auto in = Three(x.shape.subspan(2), 1), out = Three(std::span(y.shape()).subspan(2), 1);
  const auto kernel = Three(window.kernel, 1), stride = Three(window.strides, 1),
             dilation = Three(window.dilations, 1), pad = Three(window.pads_begin, 0);
  const int64_t channels = x.shape[1], out_channels = y.shape()[1];
  const int64_t group_in = channels / groups, group_out = out_channels / groups;
  const auto& x_quant = node.inputs[0]->quant;
  const auto& w_quant = node.inputs[1]->quant;
  const auto& y_quant = node.outputs[0]->quant;
  const bool has_bias = node.input(2) != nullptr;

  int64_t at = 0;
  for (int64_t n = 0; n < y.shape()[0]; ++n)
    for (int64_t oc = 0; oc < out_channels; ++oc)
      for (int64_t od = 0; od < out[0]; ++od)
        for (int64_t oh = 0; oh < out[1]; ++oh)
          for (int64_t ow = 0; ow < out[2]; ++ow, ++at) {
            double real_sum = 0;
            int64_t integer_sum = 0;
            for (int64_t ic = 0; ic < group_in; ++ic)
              for (int64_t kd = 0; kd < kernel[0]; ++kd)
                for (int64_t kh = 0; kh < kernel[1]; ++kh)
                  for (int64_t kw = 0; kw < kernel[2]; ++kw) {
                    const int64_t d = od * stride[0] - pad[0] + kd * dilation[0];
                    const int64_t h = oh * stride[1] - pad[1] + kh * dilation[1];
                    const int64_t column = ow * stride[2] - pad[2] + kw * dilation[2];
                    if (d < 0 || d >= in[0] || h < 0 || h >= in[1] || column < 0 || column >= in[2]) continue;
                    const int64_t c = oc / group_out * group_in + ic;
                    const int64_t xi = (((n * channels + c) * in[0] + d) * in[1] + h) * in[2] + column;
                    const int64_t wi =
                        (((oc * group_in + ic) * kernel[0] + kd) * kernel[1] + kh) * kernel[2] + kw;
                    if (x_quant) {
                      integer_sum += (IntegerAt(x, xi) - x_quant->zero_points[0]) * IntegerAt(w, wi);
                    } else {
                      real_sum += static_cast<double>(PlainAt(x, xi)) * static_cast<double>(PlainAt(w, wi));
                    }
                  }
            if (x_quant)
              real_sum = static_cast<double>(integer_sum) * static_cast<double>(ScaleOf(*x_quant, oc)) *
                         static_cast<double>(w_quant->scales[w_quant->per_tensor() ? 0 : oc]);
            if (has_bias) real_sum += static_cast<double>(inputs[2].As<float>()[oc]);
            const float real = ApplyPostOps(node, inputs, at, static_cast<float>(real_sum));
            if (y_quant)
              StoreReal(y, at, real, ScaleOf(*y_quant, oc), y_quant->zero_points[0]);
            else
              StoreReal(y, at, real, std::nullopt);
          }
  return absl::OkStatus();
}

// Scales of channels go where kernels have them anyhow: a depthwise convolution's input's into those of its
// weights; the result's into weights and bias, or, where an operation between needs real numbers, into
// factors behind it. Both tensors then have the scale 1.
void AbsorbChannelScales(ConvolutionSpec& spec) {
  const bool from = spec.src.quant && !spec.src.quant->per_tensor(),
             to = spec.dst.quant && !spec.dst.quant->per_tensor();
  if (!from && !to) return;
  const auto channels = static_cast<size_t>(spec.weights->shape()[0]);
  if (spec.weight_quant->per_tensor())
    spec.weight_quant = {std::vector<float>(channels, spec.weight_quant->scale()),
                         std::vector<int32_t>(channels), 0};
  std::vector<float>& scales = spec.weight_quant->scales;
  if (from) {
    for (size_t c = 0; c < channels; ++c) scales[c] *= spec.src.quant->scales[c];
    spec.src.quant = QuantParams::PerTensor(1.0f, spec.src.quant->zero_points[0]);
  }
  if (!to) return;
  const std::vector<float> wanted = spec.dst.quant->scales;
  if (!spec.post_ops.empty() && SaturationClips(spec.post_ops.back(), spec.dst)) spec.post_ops.pop_back();
  spec.dst.quant = QuantParams::PerTensor(1.0f, spec.dst.quant->zero_points[0]);
  if (!std::ranges::all_of(spec.post_ops, KeepsFactors)) {
    for (const float scale : wanted) spec.channel_factors.push_back(1.0f / scale);
    return;
  }
  for (size_t c = 0; c < channels; ++c) scales[c] /= wanted[c];
  if (spec.bias == nullptr) return;
  auto bias = std::make_shared<Tensor>(DType::kF32, spec.bias->shape());
  for (size_t c = 0; c < channels; ++c) bias->As<float>()[c] = spec.bias->As<float>()[c] / wanted[c];
  spec.bias = std::move(bias);
}

absl::StatusOr<ConvolutionSpec> SpecOf(const LowerContext& context) {
  const Node& node = context.node;
  if (!node.inputs[1]->is_constant() || (node.input(2) != nullptr && !node.inputs[2]->is_constant()))
    return absl::UnimplementedError("weights are computed, expected constants");
  ConvolutionSpec spec{.src = context.Input(0), .dst = context.Output()};
  spec.weights = node.inputs[1]->constant;
  spec.weight_quant = node.inputs[1]->quant;
  if (node.input(2) != nullptr) spec.bias = node.inputs[2]->constant;
  ASSIGN_OR_RETURN(spec.groups, node.Int("group", 1));
  ASSIGN_OR_RETURN(Window window, WindowOf(node));
  window = window.For(std::span(spec.src.shape).subspan(2), std::span(spec.dst.shape).subspan(2));
  spec.strides = window.strides;
  spec.dilations = window.dilations;
  spec.pads_begin = window.pads_begin;
  spec.pads_end = window.pads_end;
  spec.post_ops = node.post_ops;
  if (const int residual = ResidualOf(node.post_ops); residual >= 0)
    spec.residual = context.Input(static_cast<size_t>(residual));
  AbsorbChannelScales(spec);
  return spec;
}

absl::StatusOr<StepMaker> TakeOurDepthwise(const LowerContext& context) {
  ASSIGN_OR_RETURN(const ConvolutionSpec spec, SpecOf(context));
  return TakeDepthwise(spec);
}

absl::StatusOr<StepMaker> TakeOurPointwise(const LowerContext& context) {
  ASSIGN_OR_RETURN(const ConvolutionSpec spec, SpecOf(context));
  // With tiles oneDNN's kernels are the faster ones.
  if (context.isa > Isa::kAvx512Vnni)
    return absl::UnimplementedError("the CPU has tiles, expected AVX-512 VNNI without");
  return TakePointwise(spec, ResidualOf(context.node.post_ops), context.weights);
}

absl::StatusOr<StepMaker> TakeOurWindows(const LowerContext& context) {
  ASSIGN_OR_RETURN(const ConvolutionSpec spec, SpecOf(context));
  return TakeWindows(spec, ResidualOf(context.node.post_ops), context.weights);
}

absl::StatusOr<StepMaker> TakeInLibrary(const LowerContext& context) {
  ASSIGN_OR_RETURN(const ConvolutionSpec spec, SpecOf(context));
  return TakePrimitive(FindConvolution(spec, context.weights),
                       {.residual = ResidualOf(context.node.post_ops)});
}

int64_t Macs(const LowerContext& context) {
  const Shape weights = context.Input(1).shape;
  return context.Output().count() * CountOf(std::span(weights).subspan(1));
}

}  // namespace

std::span<const OpDef> conv_ops() {
  static const OpDef defs[] = {
      {.name = "Conv",
       .infer = Infer,
       .quantize = QuantRule::kWeighted,
       .channel_axis = [](const Node&) -> size_t { return 0; },
       .has_integer_kernels = [](const Node&) { return true; },
       .rows = RowsOfBatchAxis,
       .reference = Reference,
       .offers = {{.name = "hachi_depthwise", .needs = Isa::kAvx512Vnni, .take = TakeOurDepthwise},
                  {.name = "hachi_pointwise", .needs = Isa::kAvx512Vnni, .take = TakeOurPointwise},
                  {.name = "hachi_windows", .needs = Isa::kAvx512Vnni, .take = TakeOurWindows},
                  {.name = "onednn", .take = TakeInLibrary}},
       .channels_last = true,
       .fuses_post_ops = true,
       .residual_input = 3,
       .macs = Macs}};
  return defs;
}

}  // namespace hachi
