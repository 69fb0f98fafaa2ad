// Equal (ONNX opset 13).
#include "engine/base/status_macros.h"
#include "engine/ops/broadcast.h"
#include "engine/ops/compare.h"

namespace hachi {
namespace {

// Of elements of shapes: what depends on symbols is a dimension, and not negative.
std::optional<Dim> AreEqual(const Dim& a, const Dim& b) {
  if (a == b) return Dim(1);
  const auto left = a.constant(), right = b.constant();
  const bool negative = (left && *left < 0) || (right && *right < 0);
  return (left && right) || negative ? std::optional(Dim(0)) : std::nullopt;
}

absl::Status Infer(Node& node) {
  RETURN_IF_ERROR(InferComparison(node, Comparison::kEqual));
  node.outputs[0]->content = CombineContents(node, AreEqual);
  return absl::OkStatus();
}

absl::Status Reference(const Node& /*node*/, std::span<const TensorView> inputs, std::span<Tensor> outputs) {
  return ReferenceComparison(inputs, outputs, [](double a, double b) { return a == b; });
}

}  // namespace

std::span<const OpDef> equal_ops() {
  static const OpDef defs[] = {{.name = "Equal",
                                .infer = Infer,
                                .rows = RowsOfElements,
                                .reference = Reference,
                                .offers = ComparisonOffers(Comparison::kEqual),
                                .layout_agnostic = true}};
  return defs;
}

}  // namespace hachi
