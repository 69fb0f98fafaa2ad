// QuantizeLinear (ONNX opset 21) to u8 and s8. Also takes integers that stand for real numbers: a rescale.
#include "engine/base/status_macros.h"
#include "engine/kernels/quantize.h"
#include "engine/ops/infer.h"
#include "engine/ops/quantized.h"
#include "engine/ops/quantizers.h"
#include "engine/ops/table_step.h"

namespace hachi {
namespace {

absl::Status Infer(Node& node) {
  RETURN_IF_ERROR(CheckInputCount(node, 2, 3));
  RETURN_IF_ERROR(CheckReal(node, 0));
  // ONNX numbers of element types: 2 is u8, 3 is s8; 0 leaves it to the zero point.
  ASSIGN_OR_RETURN(const int64_t asked, node.Int("output_dtype", 0));
  if (node.input(2) != nullptr) RETURN_IF_ERROR(CheckInputType(node, 2, {DType::kU8, DType::kS8}));
  const DType by_attribute = asked == 3 ? DType::kS8 : DType::kU8;
  const DType dtype = node.input(2) != nullptr ? node.inputs[2]->dtype : by_attribute;
  if (asked != 0 && ((asked != 2 && asked != 3) || dtype != by_attribute))
    return absl::UnimplementedError(
        "attribute 'output_dtype' is neither u8 (2) nor s8 (3) or not that of the zero point");
  ASSIGN_OR_RETURN(QuantParams quant, ReadQuantParams(node, dtype));
  RETURN_IF_ERROR(SetOutput(node, dtype, *node.inputs[0]->dims));
  node.outputs[0]->quant = std::move(quant);
  return absl::OkStatus();
}

absl::Status Reference(const Node& node, std::span<const TensorView> inputs, std::span<Tensor> outputs) {
  const TensorView& x = inputs[0];
  ASSIGN_OR_RETURN(const QuantParams quant, ReadQuantParams(node, outputs[0].dtype()));
  const auto axis = static_cast<size_t>(quant.per_tensor() ? 0 : quant.axis);
  const int64_t step = quant.per_tensor() ? 1 : CountOf(x.shape.subspan(axis + 1));
  for (int64_t i = 0; i < x.count(); ++i) {
    const int64_t c = quant.per_tensor() ? 0 : i / step % x.shape[axis];
    StoreReal(outputs[0], i, RealAt(x, i, node.inputs[0]->quant),
              QuantParams::PerTensor(quant.scales[c], quant.zero_points[c]));
  }
  return absl::OkStatus();
}

class QuantizeStep final : public KernelStep {
 public:
  QuantizeStep(size_t count, DType to, QuantParams quant)
      : KernelStep({.kernel = "hachi_quantize"}), count_(count), to_(to), quant_(std::move(quant)) {}

 protected:
  absl::Status Run(const StepBuffers& buffers) const override {
    const std::span in(reinterpret_cast<const float*>(buffers.inputs[0]), count_);
    if (to_ == DType::kU8)
      Quantize(in, quant_.scale(), quant_.zero_point(),
               {reinterpret_cast<uint8_t*>(buffers.outputs[0]), count_});
    else
      Quantize(in, quant_.scale(), quant_.zero_point(),
               {reinterpret_cast<int8_t*>(buffers.outputs[0]), count_});
    return absl::OkStatus();
  }

 private:
  const size_t count_;
  const DType to_;
  const QuantParams quant_;
};

absl::StatusOr<std::unique_ptr<Step>> Lower(const LowerContext& context) {
  const TensorSpec src = context.Input(0), dst = context.Output();
  if (!dst.quant->per_tensor() || !src.layout.SameBytes(dst.layout, src.shape))
    return absl::UnimplementedError("scales by channel or a change of layout have no kernel, expected none");
  if (src.quant) return MakeTableStep(src, dst, [](float x) { return x; });
  return std::make_unique<QuantizeStep>(static_cast<size_t>(src.count()), dst.dtype, *dst.quant);
}

}  // namespace

const OpDef& quantize_linear_op() {
  static const OpDef def = {.name = "QuantizeLinear",
                            .infer = Infer,
                            .rows = RowsOfElements,
                            .reference = Reference,
                            .lower = Lower,
                            .layout_agnostic = true};
  return def;
}

}  // namespace hachi
