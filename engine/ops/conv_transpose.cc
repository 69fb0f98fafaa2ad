// ConvTranspose (ONNX opset 11): the convolution that would make the input of the output, in FP32 or INT8.
// Post-ops are fused.
#include <algorithm>
#include <array>
#include <vector>

#include "absl/strings/str_cat.h"
#include "engine/base/status_macros.h"
#include "engine/onednn/convolution.h"
#include "engine/ops/infer.h"
#include "engine/ops/onednn_step.h"
#include "engine/ops/op.h"
#include "engine/ops/quantized.h"
#include "engine/ops/window.h"

namespace hachi {
namespace {

// How input positions become output positions along each spatial axis.
struct Geometry {
  Window window;  // pads as the node states them
  AxisNumbers output_padding;
  AxisNumbers output_shape;  // empty: it follows from the pads
  int64_t groups = 1;
};

absl::StatusOr<Geometry> GeometryOf(const Node& node) {
  const auto weights = ConstantShape(*node.inputs[1]->dims);
  if (!weights) return absl::UnimplementedError("weights have symbolic dimensions, expected numbers");
  const size_t axes = weights->size() - 2;
  Geometry geometry;
  ASSIGN_OR_RETURN(geometry.window,
                   Window::Read(node, axes, AxisNumbers(weights->begin() + 2, weights->end())));
  ASSIGN_OR_RETURN(geometry.output_padding, node.Ints("output_padding", AxisNumbers(axes, 0)));
  ASSIGN_OR_RETURN(geometry.output_shape, node.Ints("output_shape", {}));
  ASSIGN_OR_RETURN(geometry.groups, node.Int("group", 1));
  if (geometry.output_shape.size() == axes + 2)  // some exporters write batch and channels too
    geometry.output_shape.erase(geometry.output_shape.begin(), geometry.output_shape.begin() + 2);
  if (geometry.output_padding.size() != axes ||
      (!geometry.output_shape.empty() && geometry.output_shape.size() != axes))
    return absl::InvalidArgumentError(absl::StrCat(
        "output_padding or output_shape has not one entry for each of ", axes, " axes, expected that"));
  for (const auto* list : {&geometry.output_padding, &geometry.output_shape})
    for (const int64_t entry : *list)
      if (entry < 0 || entry > int64_t{1} << 20)
        return absl::InvalidArgumentError(
            absl::StrCat("output_padding or output_shape has ", entry, ", expected 0 to 1048576"));
  return geometry;
}

// What the axis would be without pads.
Dim FullSize(const Geometry& geometry, size_t axis, const Dim& size) {
  const Window& window = geometry.window;
  return Dim(window.strides[axis]) * (size - 1) + Dim(window.Reach(axis) + geometry.output_padding[axis]);
}

bool IsSame(const Geometry& geometry) { return geometry.window.auto_pad.starts_with("SAME"); }

Dim OutputSize(const Geometry& geometry, size_t axis, const Dim& size) {
  if (!geometry.output_shape.empty()) return Dim(geometry.output_shape[axis]);
  if (IsSame(geometry)) return size * Dim(geometry.window.strides[axis]);
  return FullSize(geometry, axis, size) -
         Dim(geometry.window.pads_begin[axis] + geometry.window.pads_end[axis]);
}

// What is cut off an axis' front for these sizes; what is cut off its end follows.
int64_t FrontPad(const Geometry& geometry, size_t axis, int64_t in, int64_t out) {
  if (geometry.output_shape.empty() && !IsSame(geometry)) return geometry.window.pads_begin[axis];
  const int64_t total = std::max<int64_t>(*FullSize(geometry, axis, Dim(in)).constant() - out, 0);
  return geometry.window.auto_pad == "SAME_UPPER" ? total / 2 : total - total / 2;
}

absl::Status Infer(Node& node) {
  RETURN_IF_ERROR(CheckInputCount(node, 2, 3));
  RETURN_IF_ERROR(CheckOperand(node, 0));
  RETURN_IF_ERROR(CheckOperand(node, 1));
  if (node.inputs[0]->quant.has_value() != node.inputs[1]->quant.has_value())
    return absl::UnimplementedError("one of input and weights is quantized, expected both or none");
  if (node.inputs[1]->quant) RETURN_IF_ERROR(CheckInputType(node, 1, {DType::kS8}));
  RETURN_IF_ERROR(CheckRank(node, 0, 3, 5));
  const SymbolicShape& input = *node.inputs[0]->dims;
  RETURN_IF_ERROR(CheckRank(node, 1, input.size(), input.size()));
  ASSIGN_OR_RETURN(const Geometry geometry, GeometryOf(node));
  const Shape weights = *ConstantShape(*node.inputs[1]->dims);
  if (geometry.groups < 1 || weights[0] % geometry.groups != 0 || input[1] != Dim(weights[0]))
    return absl::InvalidArgumentError(absl::StrCat("input has ", input[1].ToText(), " channels in ",
                                                   geometry.groups, " groups, expected the ", weights[0],
                                                   " of the weights"));
  if (!std::equal(geometry.window.kernel.begin(), geometry.window.kernel.end(), weights.begin() + 2,
                  weights.end()))
    return absl::InvalidArgumentError(absl::StrCat("kernel_shape is ", ShapeText(geometry.window.kernel),
                                                   ", expected that of the weights ", ShapeText(weights)));
  const int64_t channels = weights[1] * geometry.groups;
  if (const Value* bias = node.input(2); bias != nullptr && bias->dims != SymbolicShape{Dim(channels)})
    return absl::InvalidArgumentError(
        absl::StrCat("bias has shape ", ShapeText(*bias->dims), ", expected [", channels, "]"));
  SymbolicShape dims{input[0], Dim(channels)};
  for (size_t axis = 0; axis + 2 < input.size(); ++axis) {
    dims.push_back(OutputSize(geometry, axis, input[axis + 2]));
    if (const auto number = dims.back().constant(); number && *number < 0)
      return absl::InvalidArgumentError(
          absl::StrCat("pads leave ", *number, " elements of spatial axis ", axis));
  }
  return SetOutput(node, ProductType(node), std::move(dims));
}

absl::Status Reference(const Node& node, std::span<const TensorView> inputs, std::span<Tensor> outputs) {
  const TensorView &x = inputs[0], &w = inputs[1];
  Tensor& y = outputs[0];
  ASSIGN_OR_RETURN(const Geometry geometry, GeometryOf(node));
  const auto in = Three(x.shape.subspan(2), 1), out = Three(std::span(y.shape()).subspan(2), 1);
  const auto kernel = Three(geometry.window.kernel, 1), stride = Three(geometry.window.strides, 1),
             dilation = Three(geometry.window.dilations, 1);
  std::array<int64_t, 3> pad{0, 0, 0};
  const size_t axes = x.shape.size() - 2;
  for (size_t axis = 0; axis < axes; ++axis)
    pad[3 - axes + axis] = FrontPad(geometry, axis, x.shape[axis + 2], y.shape()[axis + 2]);
  const int64_t channels = x.shape[1], group_in = channels / geometry.groups, group_out = w.shape[1];
  const int64_t out_channels = y.shape()[1];
  const auto &x_quant = node.inputs[0]->quant, &w_quant = node.inputs[1]->quant,
             &y_quant = node.outputs[0]->quant;
  // What the sums are multiples of, and the result's steps.
  const auto unit = [&](int64_t oc) {
    if (!x_quant) return 1.0;
    const size_t channel = w_quant->per_tensor() ? 0 : static_cast<size_t>(oc % group_out);
    return static_cast<double>(x_quant->scale()) * static_cast<double>(w_quant->scales[channel]);
  };
  const auto term = [&](int64_t xi, int64_t wi) {
    if (x_quant) return static_cast<double>((IntegerAt(x, xi) - x_quant->zero_point()) * IntegerAt(w, wi));
    return static_cast<double>(PlainAt(x, xi)) * static_cast<double>(PlainAt(w, wi));
  };
  int64_t at = 0;
  for (int64_t n = 0; n < y.shape()[0]; ++n)
    for (int64_t oc = 0; oc < out_channels; ++oc)
      for (int64_t od = 0; od < out[0]; ++od)
        for (int64_t oh = 0; oh < out[1]; ++oh)
          for (int64_t ow = 0; ow < out[2]; ++ow, ++at) {
            double sum = 0;
            for (int64_t kd = 0; kd < kernel[0]; ++kd)
              for (int64_t kh = 0; kh < kernel[1]; ++kh)
                for (int64_t kw = 0; kw < kernel[2]; ++kw) {
                  const int64_t d = od + pad[0] - kd * dilation[0], h = oh + pad[1] - kh * dilation[1],
                                c = ow + pad[2] - kw * dilation[2];
                  if (d < 0 || h < 0 || c < 0 || d % stride[0] != 0 || h % stride[1] != 0 ||
                      c % stride[2] != 0)
                    continue;
                  const int64_t id = d / stride[0], ih = h / stride[1], iw = c / stride[2];
                  if (id >= in[0] || ih >= in[1] || iw >= in[2]) continue;
                  for (int64_t ic = 0; ic < group_in; ++ic) {
                    const int64_t channel = oc / group_out * group_in + ic;
                    const int64_t xi = (((n * channels + channel) * in[0] + id) * in[1] + ih) * in[2] + iw;
                    const int64_t wi =
                        (((channel * group_out + oc % group_out) * kernel[0] + kd) * kernel[1] + kh) *
                            kernel[2] +
                        kw;
                    sum += term(xi, wi);
                  }
                }
            sum *= unit(oc);
            if (node.input(2) != nullptr) sum += static_cast<double>(inputs[2].As<float>()[oc]);
            StoreReal(y, at, ApplyPostOps(node, inputs, at, static_cast<float>(sum)), y_quant);
          }
  return absl::OkStatus();
}

absl::StatusOr<StepMaker> Take(const LowerContext& context) {
  const Node& node = context.node;
  if (!node.inputs[1]->is_constant() || (node.input(2) != nullptr && !node.inputs[2]->is_constant()))
    return absl::UnimplementedError("weights are computed, expected constants");
  ASSIGN_OR_RETURN(const Geometry geometry, GeometryOf(node));
  ConvolutionSpec spec{.src = context.Input(0), .dst = context.Output()};
  spec.weights = node.inputs[1]->constant;
  spec.weight_quant = node.inputs[1]->quant;
  if (node.input(2) != nullptr) spec.bias = node.inputs[2]->constant;
  spec.groups = geometry.groups;
  spec.strides = geometry.window.strides;
  spec.dilations = geometry.window.dilations;
  for (size_t axis = 0; axis + 2 < spec.src.shape.size(); ++axis) {
    const int64_t in = spec.src.shape[axis + 2], out = spec.dst.shape[axis + 2];
    const int64_t front = FrontPad(geometry, axis, in, out);
    spec.pads_begin.push_back(front);
    spec.pads_end.push_back(geometry.window.strides[axis] * (in - 1) + geometry.window.Reach(axis) - out -
                            front);
  }
  spec.post_ops = node.post_ops;
  return TakePrimitive(FindDeconvolution(spec, context.weights), {});
}

// Groups would share the scales of their channels. The library has no right kernel for bytes where the result
// reaches beyond what the last pixel of the input makes.
bool HasIntegerKernels(const Node& node) {
  const auto geometry = GeometryOf(node);
  if (!geometry.ok() || geometry->groups != 1 || !geometry->output_shape.empty()) return false;
  const Window& window = geometry->window;
  for (size_t axis = 0; axis < window.strides.size(); ++axis) {
    const int64_t end = IsSame(*geometry) ? window.Reach(axis) - window.strides[axis] : window.pads_end[axis];
    if (end < geometry->output_padding[axis]) return false;
  }
  return true;
}

int64_t Macs(const LowerContext& context) {
  const Shape weights = context.Input(1).shape;
  return context.Input(0).count() * CountOf(std::span(weights).subspan(1));
}

}  // namespace

std::span<const OpDef> conv_transpose_ops() {
  static const OpDef defs[] = {{.name = "ConvTranspose",
                                .infer = Infer,
                                .quantize = QuantRule::kWeighted,
                                .channel_axis = [](const Node&) -> size_t { return 1; },
                                .has_integer_kernels = HasIntegerKernels,
                                .rows = RowsOfBatchAxis,
                                .reference = Reference,
                                .offers = {{.name = "onednn", .take = Take}},
                                .channels_last = true,
                                .fuses_post_ops = true,
                                .macs = Macs}};
  return defs;
}

}  // namespace hachi
