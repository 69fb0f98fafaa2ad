// GlobalAveragePool (ONNX opset 1).
#include "engine/base/status_macros.h"
#include "engine/kernels/avgpool.h"
#include "engine/onednn/pooling.h"
#include "engine/ops/infer.h"
#include "engine/ops/onednn_step.h"
#include "engine/ops/op.h"
#include "engine/ops/quantized.h"

namespace hachi {
namespace {

absl::Status Infer(Node& node) {
  RETURN_IF_ERROR(CheckInputCount(node, 1, 1));
  RETURN_IF_ERROR(CheckReal(node, 0));
  RETURN_IF_ERROR(CheckRank(node, 0, 3, 5));
  SymbolicShape dims = *node.inputs[0]->dims;
  std::fill(dims.begin() + 2, dims.end(), Dim(1));
  return SetOutput(node, RealType(*node.outputs[0]), std::move(dims));
}

absl::Status Reference(const Node& node, std::span<const TensorView> inputs, std::span<Tensor> outputs) {
  const int64_t pixels = CountOf(inputs[0].shape.subspan(2));
  for (int64_t i = 0; i < outputs[0].count(); ++i) {
    double sum = 0;
    for (int64_t p = 0; p < pixels; ++p)
      sum += static_cast<double>(RealAt(inputs[0], i * pixels + p, node.inputs[0]->quant));
    StoreReal(outputs[0], i,
              ApplyPostOps(node, inputs, i, static_cast<float>(sum / static_cast<double>(pixels))),
              node.outputs[0]->quant);
  }
  return absl::OkStatus();
}

class AveragePixels final : public KernelStep {
 public:
  AveragePixels(AvgPoolSpec spec, int64_t rows)
      : KernelStep({.kernel = "hachi_average_pixels"}), spec_(std::move(spec)), rows_(rows) {}

 protected:
  absl::Status Run(const StepBuffers& buffers) const override {
    GlobalAveragePool(spec_, rows_, buffers.inputs[0], buffers.outputs[0]);
    return absl::OkStatus();
  }

 private:
  const AvgPoolSpec spec_;
  const int64_t rows_;
};

absl::StatusOr<std::unique_ptr<Step>> Lower(const LowerContext& context) {
  if (!context.node.post_ops.empty())
    return absl::UnimplementedError("pooling with fused operations has no kernel, expected none");
  const TensorSpec src = context.Input(0), dst = context.Output();
  const int64_t pixels = CountOf(std::span(src.shape).subspan(2));
  if (src.quant) {
    // The mean is [N, C] in any layout that keeps N outermost.
    if (!src.layout.SameBytes(Layout::ChannelsLast(src.shape.size()), src.shape) ||
        !dst.layout.SameBytes(Layout(), dst.shape) || pixels > (int64_t{1} << 23))
      return absl::UnimplementedError("INT8 pooling has a kernel for channels_last only");
    AvgPoolSpec spec{.pixels = pixels, .channels = src.shape[1], .from = src.dtype, .to = dst.dtype};
    spec.from_quant = *src.quant;
    if (dst.quant) spec.to_quant = *dst.quant;
    return std::make_unique<AveragePixels>(std::move(spec), src.shape[0]);
  }
  PoolingSpec spec{PoolingSpec::Kind::kAverageWithoutPadding, src, dst};
  if (dst.layout.SameBytes(src.layout, dst.shape)) spec.dst.layout = src.layout;
  spec.kernel.assign(src.shape.begin() + 2, src.shape.end());
  spec.strides.assign(spec.kernel.size(), 1);
  spec.dilations = spec.strides;
  spec.pads_begin.assign(spec.kernel.size(), 0);
  spec.pads_end = spec.pads_begin;
  ASSIGN_OR_RETURN(auto primitive, MakePooling(spec));
  return std::make_unique<OnednnStep>(std::move(primitive), OnednnStep::Operands{});
}

}  // namespace

const OpDef& global_average_pool_op() {
  static const OpDef def = {.name = "GlobalAveragePool",
                            .infer = Infer,
                            .quantize = QuantRule::kRescale,
                            .rows = RowsOfBatchAxis,
                            .reference = Reference,
                            .lower = Lower,
                            .channels_last = true};
  return def;
}

}  // namespace hachi
