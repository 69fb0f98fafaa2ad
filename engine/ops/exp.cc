// Exp (ONNX opset 13).
#include <cmath>

#include "engine/ops/unary.h"

namespace hachi {
namespace {

constexpr UnaryOp kExp{UnaryFunction::kExp, [](double x) { return std::exp(x); }};

absl::Status Reference(const Node& node, std::span<const TensorView> inputs, std::span<Tensor> outputs) {
  return ReferenceUnary(kExp, node, inputs, outputs);
}

}  // namespace

const OpDef& exp_op() {
  static const OpDef def = {.name = "Exp",
                            .infer = InferUnary,
                            .rows = RowsOfElements,
                            .reference = Reference,
                            .offers = UnaryOffers(kExp),
                            .layout_agnostic = true};
  return def;
}

}  // namespace hachi
