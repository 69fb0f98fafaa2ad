// Max (ONNX opset 13) of any number of inputs.
#include "engine/ops/broadcast.h"

namespace hachi {
namespace {

absl::Status Reference(const Node& node, std::span<const TensorView> inputs, std::span<Tensor> outputs) {
  return ReferenceBroadcast(node, inputs, outputs,
                            {.real = [](double a, double b) { return a < b ? b : a; },
                             .integer = [](int64_t a, int64_t b) { return a < b ? b : a; }});
}

}  // namespace

std::span<const OpDef> max_ops() {
  static const OpDef defs[] = {{.name = "Max",
                                .infer = InferBroadcast,
                                .quantize = QuantRule::kRescale,
                                .rows = RowsOfElements,
                                .reference = Reference,
                                .offers = BroadcastOffers(BroadcastKind::kMax),
                                .layout_agnostic = true,
                                .fuses_post_ops = true}};
  return defs;
}

}  // namespace hachi
