// LeakyRelu (ONNX opset 16).
#include "engine/base/status_macros.h"
#include "engine/ops/activation.h"

namespace hachi {
namespace {

absl::StatusOr<PostOp> AsPostOp(const Node& node) {
  ASSIGN_OR_RETURN(const float alpha, node.Float("alpha", 0.01f));
  return PostOp{PostOp::Kind::kLeakyRelu, alpha};
}

}  // namespace

const OpDef& leaky_relu_op() {
  static const OpDef def = {.name = "LeakyRelu",
                            .infer = InferActivation,
                            .quantize = QuantRule::kRescale,
                            .rows = RowsOfElements,
                            .reference = ReferenceActivation,
                            .offers = ActivationOffers(),
                            .layout_agnostic = true,
                            .as_post_op = AsPostOp};
  return def;
}

}  // namespace hachi
