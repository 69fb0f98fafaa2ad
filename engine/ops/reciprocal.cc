// Reciprocal (ONNX opset 13).
#include "engine/ops/unary.h"

namespace hachi {
namespace {

constexpr UnaryOp kReciprocal{UnaryFunction::kReciprocal, [](double x) { return 1.0 / x; }};

absl::Status Reference(const Node& node, std::span<const TensorView> inputs, std::span<Tensor> outputs) {
  return ReferenceUnary(kReciprocal, node, inputs, outputs);
}

}  // namespace

const OpDef& reciprocal_op() {
  static const OpDef def = {.name = "Reciprocal",
                            .infer = InferUnary,
                            .rows = RowsOfElements,
                            .reference = Reference,
                            .offers = UnaryOffers(kReciprocal),
                            .layout_agnostic = true};
  return def;
}

}  // namespace hachi
