// Sigmoid (ONNX opset 13).
#include "engine/ops/activation.h"

namespace hachi {
namespace {

absl::StatusOr<PostOp> AsPostOp(const Node& /*node*/) { return PostOp{PostOp::Kind::kSigmoid}; }

}  // namespace

const OpDef& sigmoid_op() {
  static const OpDef def = {.name = "Sigmoid",
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
