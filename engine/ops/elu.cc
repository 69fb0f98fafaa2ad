// Elu (ONNX opset 6).
#include "engine/base/status_macros.h"
#include "engine/ops/activation.h"

namespace hachi {
namespace {

absl::StatusOr<PostOp> AsPostOp(const Node& node) {
  ASSIGN_OR_RETURN(const float alpha, node.Float("alpha", 1.0f));
  return PostOp{PostOp::Kind::kElu, alpha};
}

}  // namespace

const OpDef& elu_op() {
  static const OpDef def = {.name = "Elu",
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
