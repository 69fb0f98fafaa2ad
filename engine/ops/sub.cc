// Sub (ONNX opset 14).
#include "engine/base/status_macros.h"
#include "engine/ops/broadcast.h"
#include "engine/ops/infer.h"

namespace hachi {
namespace {

absl::Status Infer(Node& node) {
  RETURN_IF_ERROR(CheckInputCount(node, 2, 2));
  RETURN_IF_ERROR(InferBroadcast(node));
  node.outputs[0]->content =
      CombineContents(node, [](const Dim& a, const Dim& b) -> std::optional<Dim> { return a - b; });
  return absl::OkStatus();
}

absl::Status Reference(const Node& node, std::span<const TensorView> inputs, std::span<Tensor> outputs) {
  return ReferenceBroadcast(
      node, inputs, outputs,
      {.real = [](double a, double b) { return a - b; },
       .integer =
           [](int64_t a, int64_t b) {
             return static_cast<int64_t>(static_cast<uint64_t>(a) - static_cast<uint64_t>(b));
           }});
}

}  // namespace

std::span<const OpDef> sub_ops() {
  static const OpDef defs[] = {{.name = "Sub",
                                .infer = Infer,
                                .quantize = QuantRule::kRescale,
                                .rows = RowsOfElements,
                                .reference = Reference,
                                .offers = BroadcastOffers(BroadcastKind::kSub),
                                .layout_agnostic = true,
                                .fuses_post_ops = true}};
  return defs;
}

}  // namespace hachi
