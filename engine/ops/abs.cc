// Abs (ONNX opset 13). Integers wrap at their type's width.
#include <cmath>

#include "engine/base/status_macros.h"
#include "engine/ops/infer.h"
#include "engine/ops/quantized.h"
#include "engine/ops/unary.h"

namespace hachi {
namespace {

constexpr UnaryOp kAbs{UnaryFunction::kAbs, [](double x) { return std::abs(x); }};

absl::Status Infer(Node& node) {
  RETURN_IF_ERROR(CheckInputCount(node, 1, 1));
  if (IsReal(*node.inputs[0])) return InferUnary(node);
  RETURN_IF_ERROR(CheckInputType(node, 0, {DType::kS32, DType::kS64}));
  return SetOutput(node, node.inputs[0]->dtype, *node.inputs[0]->dims);
}

absl::Status Reference(const Node& node, std::span<const TensorView> inputs, std::span<Tensor> outputs) {
  if (IsReal(*node.inputs[0])) return ReferenceUnary(kAbs, node, inputs, outputs);
  VisitDType(outputs[0].dtype(), [&](auto zero) {
    for (int64_t i = 0; i < outputs[0].count(); ++i) {
      const int64_t x = IntegerAt(inputs[0], i);
      outputs[0].As<decltype(zero)>()[i] =
          static_cast<decltype(zero)>(x < 0 ? 0 - static_cast<uint64_t>(x) : static_cast<uint64_t>(x));
    }
  });
  return absl::OkStatus();
}

}  // namespace

const OpDef& abs_op() {
  static const OpDef def = {.name = "Abs",
                            .infer = Infer,
                            .quantize = QuantRule::kRescale,
                            .rows = RowsOfElements,
                            .reference = Reference,
                            .offers = UnaryOffers(kAbs),
                            .layout_agnostic = true};
  return def;
}

}  // namespace hachi
