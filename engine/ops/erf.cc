// Erf (ONNX opset 13).
#include <cmath>

#include "engine/ops/unary.h"

namespace hachi {
namespace {

constexpr UnaryOp kErf{UnaryFunction::kErf, [](double x) { return std::erf(x); }};

absl::Status Reference(const Node& node, std::span<const TensorView> inputs, std::span<Tensor> outputs) {
  return ReferenceUnary(kErf, node, inputs, outputs);
}

}  // namespace

const OpDef& erf_op() {
  static const OpDef def = {.name = "Erf",
                            .infer = InferUnary,
                            .quantize = QuantRule::kRescale,
                            .rows = RowsOfElements,
                            .reference = Reference,
                            .offers = UnaryOffers(kErf),
                            .layout_agnostic = true};
  return def;
}

}  // namespace hachi
