// Sqrt (ONNX opset 13).
#include <cmath>

#include "engine/ops/unary.h"

namespace hachi {
namespace {

constexpr UnaryOp kSqrt{UnaryFunction::kSqrt, [](double x) { return std::sqrt(x); }};

absl::Status Reference(const Node& node, std::span<const TensorView> inputs, std::span<Tensor> outputs) {
  return ReferenceUnary(kSqrt, node, inputs, outputs);
}

}  // namespace

const OpDef& sqrt_op() {
  static const OpDef def = {.name = "Sqrt",
                            .infer = InferUnary,
                            .rows = RowsOfElements,
                            .reference = Reference,
                            .offers = UnaryOffers(kSqrt),
                            .layout_agnostic = true};
  return def;
}

}  // namespace hachi
