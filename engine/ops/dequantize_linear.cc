// DequantizeLinear (ONNX opset 21) to f32.
#include "absl/strings/str_cat.h"
#include "engine/base/status_macros.h"
#include "engine/kernels/quantize.h"
#include "engine/ops/infer.h"
#include "engine/ops/quantized.h"
#include "engine/ops/quantizers.h"
#include "engine/ops/take.h"

namespace hachi {
namespace {

absl::Status Infer(Node& node) {
  RETURN_IF_ERROR(CheckInputCount(node, 2, 3));
  RETURN_IF_ERROR(CheckInputType(node, 0, {DType::kU8, DType::kS8, DType::kU16, DType::kS16, DType::kS32}));
  const DType dtype = node.inputs[0]->dtype;
  ASSIGN_OR_RETURN(const int64_t block_size, BlockSizeOf(node));
  RETURN_IF_ERROR(block_size > 0           ? CheckBlocks(node, dtype)
                  : HasComputedScale(node) ? CheckComputedScale(node, dtype)
                                           : ReadQuantParams(node, dtype).status());
  return SetOutput(node, DType::kF32, *node.inputs[0]->dims);
}

absl::Status Reference(const Node& node, std::span<const TensorView> inputs, std::span<Tensor> outputs) {
  const TensorView& x = inputs[0];
  ASSIGN_OR_RETURN(const ElementQuants quants, ElementQuants::Of(node, inputs));
  for (int64_t i = 0; i < x.count(); ++i)
    outputs[0].As<float>()[i] = static_cast<float>(IntegerAt(x, i) - quants.zero_point(i)) * quants.scale(i);
  return absl::OkStatus();
}

class DequantizeStep final : public KernelStep {
 public:
  DequantizeStep(size_t count, DType from, QuantParams quant)
      : count_(count), from_(from), quant_(std::move(quant)) {}

 protected:
  absl::Status Run(const StepBuffers& buffers) const override {
    const std::span out(reinterpret_cast<float*>(buffers.outputs[0]), count_);
    if (from_ == DType::kU8)
      Dequantize(std::span(reinterpret_cast<const uint8_t*>(buffers.inputs[0]), count_), quant_.scale(),
                 quant_.zero_point(), out);
    else
      Dequantize(std::span(reinterpret_cast<const int8_t*>(buffers.inputs[0]), count_), quant_.scale(),
                 quant_.zero_point(), out);
    return absl::OkStatus();
  }

 private:
  const size_t count_;
  const DType from_;
  const QuantParams quant_;
};

// With a scale and a zero point that the graph computes.
class ComputedDequantizeStep final : public KernelStep {
 public:
  ComputedDequantizeStep(size_t count, DType from) : count_(count), from_(from) {}

 protected:
  absl::Status Run(const StepBuffers& buffers) const override {
    const std::span out(reinterpret_cast<float*>(buffers.outputs[0]), count_);
    const float scale = *reinterpret_cast<const float*>(buffers.inputs[1]);
    const std::byte* zero = buffers.inputs.size() > 2 ? buffers.inputs[2] : nullptr;
    if (from_ == DType::kU8)
      Dequantize(std::span(reinterpret_cast<const uint8_t*>(buffers.inputs[0]), count_), scale,
                 zero == nullptr ? 0 : int32_t{*reinterpret_cast<const uint8_t*>(zero)}, out);
    else
      Dequantize(std::span(reinterpret_cast<const int8_t*>(buffers.inputs[0]), count_), scale,
                 zero == nullptr ? 0 : int32_t{*reinterpret_cast<const int8_t*>(zero)}, out);
    return absl::OkStatus();
  }

 private:
  const size_t count_;
  const DType from_;
};

absl::StatusOr<StepMaker> TakeComputed(const LowerContext& context) {
  const TensorSpec src = context.Input(0);
  RETURN_IF_ERROR(CheckOneLayout(src, context.Output()));
  if (SizeOf(src.dtype) != 1 || context.Input(1).count() != 1)
    return absl::UnimplementedError("scales by channel or wide integers, expected u8 or s8 with one scale");
  return [count = static_cast<size_t>(src.count()), from = src.dtype] {
    return std::make_unique<ComputedDequantizeStep>(count, from);
  };
}

absl::StatusOr<StepMaker> Take(const LowerContext& context) {
  const TensorSpec src = context.Input(0), dst = context.Output();
  if (HasComputedScale(context.node)) return TakeComputed(context);
  ASSIGN_OR_RETURN(QuantParams quant, ReadQuantParams(context.node, src.dtype));
  RETURN_IF_ERROR(CheckOneLayout(src, dst));
  if (SizeOf(src.dtype) != 1 || !quant.per_tensor())
    return absl::UnimplementedError("scales by channel or wide integers, expected u8 or s8 with one scale");
  return [count = static_cast<size_t>(src.count()), from = src.dtype, quant = std::move(quant)] {
    return std::make_unique<DequantizeStep>(count, from, quant);
  };
}

}  // namespace

std::span<const OpDef> dequantize_linear_ops() {
  static const OpDef defs[] = {{.name = "DequantizeLinear",
                                .infer = Infer,
                                .rows = RowsOfElements,
                                .reference = Reference,
                                .offers = {{.name = "hachi_dequantize", .take = Take}},
                                .layout_agnostic = true}};
  return defs;
}

}  // namespace hachi
