// Div (ONNX opset 14); integers are divided towards zero.
#include "engine/base/status_macros.h"
#include "engine/ops/broadcast.h"
#include "engine/ops/infer.h"
#include "engine/ops/quantized.h"

namespace hachi {
namespace {

absl::Status Infer(Node& node) {
  RETURN_IF_ERROR(CheckInputCount(node, 2, 2));
  RETURN_IF_ERROR(InferBroadcast(node));
  node.outputs[0]->content = CombineContents(node, [](const Dim& a, const Dim& b) -> std::optional<Dim> {
    const auto divisor = b.constant();
    if (!divisor) return a.ExactQuotient(b);
    if (*divisor == 0) return std::nullopt;
    if (*divisor == -1) return Dim(0) - a;  // also where the quotient would not fit
    if (const auto number = a.constant()) return Dim(*number / *divisor);
    // Dimensions are not negative: rounding down is rounding towards zero.
    return *divisor > 0 ? std::optional(Dim::FloorDiv(a, *divisor)) : std::nullopt;
  });
  return absl::OkStatus();
}

absl::Status Reference(const Node& node, std::span<const TensorView> inputs, std::span<Tensor> outputs) {
  if (!IsReal(*node.inputs[0]) && inputs[1].dtype != DType::kF64)
    for (int64_t i = 0; i < inputs[1].count(); ++i)
      if (IntegerAt(inputs[1], i) == 0)
        return absl::InvalidArgumentError("divides an integer by 0, expected another divisor");
  return ReferenceBroadcast(node, inputs, outputs,
                            {.real = [](double a, double b) { return a / b; },
                             .integer =
                                 [](int64_t a, int64_t b) {
                                   // The one quotient that does not fit wraps, as the other operations do.
                                   return b == -1 ? static_cast<int64_t>(0 - static_cast<uint64_t>(a))
                                                  : a / b;
                                 }});
}

}  // namespace

std::span<const OpDef> div_ops() {
  static const OpDef defs[] = {{.name = "Div",
                                .infer = Infer,
                                .quantize = QuantRule::kRescale,
                                .rows = RowsOfElements,
                                .reference = Reference,
                                .offers = BroadcastOffers(BroadcastKind::kDiv),
                                .layout_agnostic = true,
                                .fuses_post_ops = true}};
  return defs;
}

}  // namespace hachi
