// GlobalAveragePool (ONNX opset 1).
#include "engine/base/status_macros.h"
#include "engine/kernels/avgpool.h"
#include "engine/onednn/pooling.h"
#include "engine/ops/infer.h"
#include "engine/ops/onednn_step.h"
#include "engine/ops/op.h"
#include "engine/ops/quantized.h"
#include "engine/ops/take.h"

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

constexpr int64_t kMaxPixels = int64_t{1} << 23;  // whose sum fits 32 bits

class AveragePixels final : public KernelStep {
 public:
  AveragePixels(AvgPoolSpec spec, int64_t rows) : spec_(std::move(spec)), rows_(rows) {}

 protected:
  absl::Status Run(const StepBuffers& buffers) const override {
    GlobalAveragePool(spec_, rows_, buffers.inputs[0], buffers.outputs[0]);
    return absl::OkStatus();
  }

 private:
  const AvgPoolSpec spec_;
  const int64_t rows_;
};

absl::StatusOr<StepMaker> TakeIntegers(const LowerContext& context) {
  RETURN_IF_ERROR(CheckNothingFused(context.node));
  const TensorSpec src = context.Input(0), dst = context.Output();
  const int64_t pixels = CountOf(std::span(src.shape).subspan(2));
  if (!src.quant) return absl::UnimplementedError("input is f32, expected u8 or s8");
  // The mean is [N, C] in any layout that keeps N outermost.
  if (!src.layout.SameBytes(Layout::ChannelsLast(src.shape.size()), src.shape) ||
      !dst.layout.SameBytes(Layout(), dst.shape))
    return absl::UnimplementedError(
        absl::StrCat("input is ", src.layout.ToText(), ", expected channels_last"));
  if (pixels > kMaxPixels)
    return absl::UnimplementedError(
        absl::StrCat("a channel has ", pixels, " pixels, expected at most ", kMaxPixels));
  AvgPoolSpec spec{.pixels = pixels, .channels = src.shape[1], .from = src.dtype, .to = dst.dtype};
  spec.from_quant = *src.quant;
  if (dst.quant) spec.to_quant = *dst.quant;
  return
      [spec = std::move(spec), rows = src.shape[0]] { return std::make_unique<AveragePixels>(spec, rows); };
}

absl::StatusOr<StepMaker> TakeReals(const LowerContext& context) {
  RETURN_IF_ERROR(CheckNothingFused(context.node));
  const TensorSpec src = context.Input(0), dst = context.Output();
  if (src.quant) return absl::UnimplementedError("input is integers, expected f32");
  PoolingSpec spec{PoolingSpec::Kind::kAverageWithoutPadding, src, dst};
  if (dst.layout.SameBytes(src.layout, dst.shape)) spec.dst.layout = src.layout;
  spec.kernel.assign(src.shape.begin() + 2, src.shape.end());
  spec.strides.assign(spec.kernel.size(), 1);
  spec.dilations = spec.strides;
  spec.pads_begin.assign(spec.kernel.size(), 0);
  spec.pads_end = spec.pads_begin;
  return TakePrimitive(FindPooling(spec), {});
}

}  // namespace

std::span<const OpDef> global_average_pool_ops() {
  static const OpDef defs[] = {{.name = "GlobalAveragePool",
                                .infer = Infer,
                                .quantize = QuantRule::kRescale,
                                .rows = RowsOfBatchAxis,
                                .reference = Reference,
                                .offers = {{.name = "hachi_average_pixels", .take = TakeIntegers},
                                           {.name = "onednn", .take = TakeReals}},
                                .channels_last = true}};
  return defs;
}

}  // namespace hachi
