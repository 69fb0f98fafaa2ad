// AveragePool (ONNX opset 19).
#include "absl/strings/str_cat.h"
#include "engine/base/status_macros.h"
#include "engine/ops/infer.h"
#include "engine/ops/pooling.h"
#include "engine/ops/quantized.h"

namespace hachi {
namespace {

absl::Status Infer(Node& node) {
  ASSIGN_OR_RETURN(SymbolicShape dims, InferPooledDims(node));
  RETURN_IF_ERROR(CheckReal(node, 0));
  RETURN_IF_ERROR(node.Int("count_include_pad", 0).status());
  return SetOutput(node, RealType(*node.outputs[0]), std::move(dims));
}

// The window with auto_pad resolved, but without what ceil_mode reads beyond the padding.
absl::StatusOr<Window> StatedWindow(const Node& node, std::span<const int64_t> input,
                                    std::span<const int64_t> output) {
  ASSIGN_OR_RETURN(Window window, Window::Read(node, input.size() - 2, {}));
  window.ceil_mode = false;
  return window.For(input.subspan(2), output.subspan(2));
}

absl::Status Reference(const Node& node, std::span<const TensorView> inputs, std::span<Tensor> outputs) {
  const TensorView& x = inputs[0];
  const Shape& shape = outputs[0].shape();
  ASSIGN_OR_RETURN(const int64_t count_padding, node.Int("count_include_pad", 0));
  ASSIGN_OR_RETURN(const Window stated, StatedWindow(node, x.shape, shape));
  ASSIGN_OR_RETURN(const Window window, PoolingWindow(node, x.shape, shape));
  ForEachWindow(stated, window, x.shape, shape, [&](int64_t i, const Taps& taps) {
    double sum = 0;
    for (const int64_t tap : taps.inside) sum += static_cast<double>(RealAt(x, tap, node.inputs[0]->quant));
    const auto count = static_cast<int64_t>(taps.inside.size()) + (count_padding ? taps.padded : 0);
    const double mean = count == 0 ? 0.0 : sum / static_cast<double>(count);
    StoreReal(outputs[0], i, ApplyPostOps(node, inputs, i, static_cast<float>(mean)), node.outputs[0]->quant);
  });
  return absl::OkStatus();
}

absl::StatusOr<StepMaker> Take(const LowerContext& context) {
  using Kind = PoolingSpec::Kind;
  const Node& node = context.node;
  ASSIGN_OR_RETURN(const int64_t count_padding, node.Int("count_include_pad", 0));
  const Shape input = context.Input(0).shape, output = context.Output().shape;
  ASSIGN_OR_RETURN(const Window stated, StatedWindow(node, input, output));
  ASSIGN_OR_RETURN(const Window window, PoolingWindow(node, input, output));
  if (count_padding == 0) return TakePooling(context, Kind::kAverageWithoutPadding);
  if (stated.pads_end != window.pads_end)
    return absl::UnimplementedError("counting padding has no kernel where ceil_mode reads beyond it");
  return TakePooling(context, Kind::kAverageWithPadding);
}

}  // namespace

std::span<const OpDef> average_pool_ops() {
  static const OpDef defs[] = {{.name = "AveragePool",
                                .infer = Infer,
                                .quantize = QuantRule::kRescale,
                                .rows = RowsOfBatchAxis,
                                .reference = Reference,
                                .offers = {{.name = "onednn", .take = Take}},
                                .channels_last = true}};
  return defs;
}

}  // namespace hachi
