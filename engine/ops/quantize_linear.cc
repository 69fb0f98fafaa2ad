// QuantizeLinear (ONNX opset 21) to u8, s8, u16 and s16. Also takes integers that stand for real numbers: a
// rescale.
#include <algorithm>

#include "absl/strings/str_cat.h"
#include "engine/base/status_macros.h"
#include "engine/kernels/quantize.h"
#include "engine/ops/function_step.h"
#include "engine/ops/infer.h"
#include "engine/ops/quantized.h"
#include "engine/ops/quantizers.h"
#include "engine/ops/table_step.h"
#include "engine/ops/take.h"

namespace hachi {
namespace {

// The type of the integers: the zero point's, or the attribute's by ONNX's numbers.
absl::StatusOr<DType> TypeOf(const Node& node) {
  constexpr std::pair<int64_t, DType> kTypes[] = {
      {0, DType::kU8}, {2, DType::kU8}, {3, DType::kS8}, {4, DType::kU16}, {5, DType::kS16}};
  if (node.input(2) != nullptr)
    RETURN_IF_ERROR(CheckInputType(node, 2, {DType::kU8, DType::kS8, DType::kU16, DType::kS16}));
  ASSIGN_OR_RETURN(const int64_t asked, node.Int("output_dtype", 0));
  const auto found = std::ranges::find(kTypes, asked, &std::pair<int64_t, DType>::first);
  if (found == std::end(kTypes))
    return absl::UnimplementedError(
        absl::StrCat("attribute 'output_dtype' is ", asked, ", expected u8 (2), s8 (3), u16 (4) or s16 (5)"));
  if (node.input(2) == nullptr) return found->second;
  if (asked == 0 || found->second == node.inputs[2]->dtype) return node.inputs[2]->dtype;
  return absl::InvalidArgumentError(
      absl::StrCat("attribute 'output_dtype' is ", std::string(NameOf(found->second)), ", expected ",
                   std::string(NameOf(node.inputs[2]->dtype)), " as the zero point"));
}

absl::Status Infer(Node& node) {
  RETURN_IF_ERROR(CheckInputCount(node, 2, 4));
  if (const Value* factors = node.input(3); factors != nullptr) {
    RETURN_IF_ERROR(CheckInputType(node, 3, {DType::kF32}));
    RETURN_IF_ERROR(CheckRank(node, 0, 1, 12));
    if (*factors->dims != SymbolicShape{node.inputs[0]->dims->back()})
      return absl::InvalidArgumentError(absl::StrCat("factors have shape ", ShapeText(*factors->dims),
                                                     ", expected one for each index of the last axis"));
  }
  RETURN_IF_ERROR(CheckReal(node, 0));
  ASSIGN_OR_RETURN(const DType dtype, TypeOf(node));
  RETURN_IF_ERROR(SetOutput(node, dtype, *node.inputs[0]->dims));
  node.outputs[0]->quant.reset();
  ASSIGN_OR_RETURN(const int64_t block_size, BlockSizeOf(node));
  if (block_size > 0) return CheckBlocks(node, dtype);
  if (HasComputedScale(node)) return CheckComputedScale(node, dtype);
  ASSIGN_OR_RETURN(node.outputs[0]->quant, ReadQuantParams(node, dtype));
  return absl::OkStatus();
}

absl::Status Reference(const Node& node, std::span<const TensorView> inputs, std::span<Tensor> outputs) {
  const TensorView& x = inputs[0];
  ASSIGN_OR_RETURN(const ElementQuants quants, ElementQuants::Of(node, inputs));
  for (int64_t i = 0; i < x.count(); ++i) {
    const float real = RealAt(x, i, node.inputs[0]->quant);
    const float factor = node.input(3) == nullptr ? 1.0f : inputs[3].As<float>()[i % x.shape.back()];
    StoreReal(outputs[0], i, real * factor, quants.scale(i), quants.zero_point(i));
  }
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

// Rows whose elements are multiplied by factors first.
absl::StatusOr<StepMaker> TakeFactors(const LowerContext& context) {
  const Node& node = context.node;
  const TensorSpec src = context.Input(0), dst = context.Output();
  if (node.input(3) == nullptr) return absl::UnimplementedError("there are no factors, expected some");
  RETURN_IF_ERROR(CheckOneScale(dst));
  for (const Value* value : {node.inputs[0], node.outputs[0]}) RETURN_IF_ERROR(CheckRowMajor(context, value));
  if (src.quant || SizeOf(dst.dtype) != 1 || !node.inputs[3]->is_constant())
    return absl::UnimplementedError("not f32 to bytes with constant factors, expected that");
  return MakeStep([count = static_cast<size_t>(src.count()), to = dst.dtype, quant = *dst.quant,
                   factors = node.inputs[3]->constant](const StepBuffers& buffers) {
    const std::span in(reinterpret_cast<const float*>(buffers.inputs[0]), count);
    if (to == DType::kU8)
      QuantizeRows(in, factors->As<float>(), quant.scale(), quant.zero_point(),
                   {reinterpret_cast<uint8_t*>(buffers.outputs[0]), count});
    else
      QuantizeRows(in, factors->As<float>(), quant.scale(), quant.zero_point(),
                   {reinterpret_cast<int8_t*>(buffers.outputs[0]), count});
  });
}

// To integers of 16 bits.
template <typename T>
class WideQuantizeStep final : public KernelStep {
 public:
  WideQuantizeStep(int64_t count, QuantParams quant) : count_(count), quant_(std::move(quant)) {}

 protected:
  absl::Status Run(const StepBuffers& buffers) const override {
    const auto* in = reinterpret_cast<const float*>(buffers.inputs[0]);
    auto* out = reinterpret_cast<T*>(buffers.outputs[0]);
    for (int64_t i = 0; i < count_; ++i)
      out[i] = QuantizeValue<T>(in[i], quant_.scale(), quant_.zero_point());
    return absl::OkStatus();
  }

 private:
  const int64_t count_;
  const QuantParams quant_;
};

absl::Status CheckNoFactors(const Node& node) {
  if (node.input(3) == nullptr) return absl::OkStatus();
  return absl::UnimplementedError("there are factors, expected none");
}

absl::StatusOr<StepMaker> TakeInTable(const LowerContext& context) {
  RETURN_IF_ERROR(CheckNoFactors(context.node));
  RETURN_IF_ERROR(CheckOneScale(context.Output()));
  return TakeTable(context, [](float x) { return x; });
}

absl::StatusOr<StepMaker> TakeReals(const LowerContext& context) {
  RETURN_IF_ERROR(CheckNoFactors(context.node));
  const TensorSpec src = context.Input(0), dst = context.Output();
  RETURN_IF_ERROR(CheckOneScale(dst));
  RETURN_IF_ERROR(CheckOneLayout(src, dst));
  if (src.quant) return absl::UnimplementedError("input is integers, expected f32");
  return [count = src.count(), to = dst.dtype, quant = *dst.quant]() -> std::unique_ptr<Step> {
    if (to == DType::kU16) return std::make_unique<WideQuantizeStep<uint16_t>>(count, quant);
    if (to == DType::kS16) return std::make_unique<WideQuantizeStep<int16_t>>(count, quant);
    return std::make_unique<QuantizeStep>(static_cast<size_t>(count), to, quant);
  };
}

}  // namespace

std::span<const OpDef> quantize_linear_ops() {
  static const OpDef defs[] = {{.name = "QuantizeLinear",
                                .infer = Infer,
                                .rows = RowsOfElements,
                                .reference = Reference,
                                .offers = {{.name = "hachi_quantize_rows", .take = TakeFactors},
                                           {.name = "hachi_table", .take = TakeInTable},
                                           {.name = "hachi_quantize", .take = TakeReals}},
                                .layout_agnostic = true}};
  return defs;
}

}  // namespace hachi
