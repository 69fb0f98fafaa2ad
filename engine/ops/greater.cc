// Greater (ONNX opset 13).
#include "engine/ops/compare.h"

namespace hachi {
namespace {

absl::Status Infer(Node& node) { return InferComparison(node, Comparison::kGreater); }

absl::Status Reference(const Node& /*node*/, std::span<const TensorView> inputs, std::span<Tensor> outputs) {
  return ReferenceComparison(inputs, outputs, [](double a, double b) { return a > b; });
}

}  // namespace

std::span<const OpDef> greater_ops() {
  static const OpDef defs[] = {{.name = "Greater",
                                .infer = Infer,
                                .rows = RowsOfElements,
                                .reference = Reference,
                                .offers = ComparisonOffers(Comparison::kGreater),
                                .layout_agnostic = true}};
  return defs;
}

}  // namespace hachi
