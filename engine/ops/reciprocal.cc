// Reciprocal (ONNX opset 13).
#include "engine/ops/unary.h"

namespace hachi {
namespace {

constexpr UnaryOp kReciprocal{UnaryFunction::kReciprocal, [](double x) { return 1.0 / x; }};

absl::Status Reference(const Node& node, std::span<const TensorView> inputs, std::span<Tensor> outputs) {
  return ReferenceUnary(kReciprocal, node, inputs, outputs);
}

absl::StatusOr<std::unique_ptr<Step>> Lower(const LowerContext& context) {
  return LowerUnary(kReciprocal, context);
}

}  // namespace

const OpDef& reciprocal_op() {
  static const OpDef def = {.name = "Reciprocal",
                            .infer = InferUnary,
                            .rows = RowsOfElements,
                            .reference = Reference,
                            .lower = Lower,
                            .layout_agnostic = true};
  return def;
}

}  // namespace hachi
