// Less (ONNX opset 13).
#include "engine/ops/compare.h"

namespace hachi {
namespace {

absl::Status Infer(Node& node) { return InferComparison(node, Comparison::kLess); }

absl::Status Reference(const Node& /*node*/, std::span<const TensorView> inputs, std::span<Tensor> outputs) {
  return ReferenceComparison(inputs, outputs, [](double a, double b) { return a < b; });
}

}  // namespace

std::span<const OpDef> less_ops() {
  static const OpDef defs[] = {{.name = "Less",
                                .infer = Infer,
                                .rows = RowsOfElements,
                                .reference = Reference,
                                .offers = ComparisonOffers(Comparison::kLess),
                                .layout_agnostic = true}};
  return defs;
}

}  // namespace hachi
