// Log (ONNX opset 13).
#include <cmath>

#include "engine/ops/unary.h"

namespace hachi {
namespace {

constexpr UnaryOp kLog{UnaryFunction::kLog, [](double x) { return std::log(x); }};

absl::Status Reference(const Node& node, std::span<const TensorView> inputs, std::span<Tensor> outputs) {
  return ReferenceUnary(kLog, node, inputs, outputs);
}

}  // namespace

const OpDef& log_op() {
  static const OpDef def = {.name = "Log",
                            .infer = InferUnary,
                            .rows = RowsOfElements,
                            .reference = Reference,
                            .offers = UnaryOffers(kLog),
                            .layout_agnostic = true};
  return def;
}

}  // namespace hachi
