// QuantizeLinear (ONNX opset 21) to u8 and s8. Also takes integers that stand for real numbers: a rescale.
#include "engine/base/status_macros.h"
#include "engine/kernels/quantize.h"
#include "engine/ops/infer.h"
#include "engine/ops/quantized.h"
#include "engine/ops/quantizers.h"
#include "engine/ops/table_step.h"
#include "engine/ops/take.h"

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
  RETURN_IF_ERROR(SetOutput(node, dtype, *node.inputs[0]->dims));
  node.outputs[0]->quant.reset();
  if (HasComputedScale(node)) return CheckComputedScale(node, dtype);
  ASSIGN_OR_RETURN(node.outputs[0]->quant, ReadQuantParams(node, dtype));
  return absl::OkStatus();
}

absl::Status Reference(const Node& node, std::span<const TensorView> inputs, std::span<Tensor> outputs) {
  const TensorView& x = inputs[0];
  ASSIGN_OR_RETURN(const ElementQuants quants, ElementQuants::Of(node, inputs));
  for (int64_t i = 0; i < x.count(); ++i)
    StoreReal(outputs[0], i, RealAt(x, i, node.inputs[0]->quant), quants.scale(i), quants.zero_point(i));
  return absl::OkStatus();
}

class QuantizeStep final : public KernelStep {
 public:
  QuantizeStep(size_t count, DType to, QuantParams quant)
      : count_(count), to_(to), quant_(std::move(quant)) {}

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

absl::Status CheckOneScale(const TensorSpec& spec) {
  if (spec.quant && spec.quant->per_tensor()) return absl::OkStatus();
  return absl::UnimplementedError("output has computed scales or scales by channel, expected a constant one");
}

absl::StatusOr<StepMaker> TakeInTable(const LowerContext& context) {
  RETURN_IF_ERROR(CheckOneScale(context.Output()));
  return TakeTable(context, [](float x) { return x; });
}

absl::StatusOr<StepMaker> TakeReals(const LowerContext& context) {
  const TensorSpec src = context.Input(0), dst = context.Output();
  RETURN_IF_ERROR(CheckOneScale(dst));
  RETURN_IF_ERROR(CheckOneLayout(src, dst));
  if (src.quant) return absl::UnimplementedError("input is integers, expected f32");
  return [count = static_cast<size_t>(src.count()), to = dst.dtype, quant = *dst.quant] {
    return std::make_unique<QuantizeStep>(count, to, quant);
  };
}

}  // namespace

std::span<const OpDef> quantize_linear_ops() {
  static const OpDef defs[] = {{.name = "QuantizeLinear",
                                .infer = Infer,
                                .rows = RowsOfElements,
                                .reference = Reference,
                                .offers = {{.name = "hachi_table", .take = TakeInTable},
                                           {.name = "hachi_quantize", .take = TakeReals}},
                                .layout_agnostic = true}};
  return defs;
}

}  // namespace hachi
