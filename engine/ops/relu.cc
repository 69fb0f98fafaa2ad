// Relu (ONNX opset 14).
#include <limits>

#include "engine/ops/activation.h"

namespace hachi {
namespace {

absl::StatusOr<PostOp> AsPostOp(const Node& /*node*/) {
  return PostOp{PostOp::Kind::kClip, 0.0f, std::numeric_limits<float>::infinity()};
}

}  // namespace

const OpDef& relu_op() {
  static const OpDef def = {.name = "Relu",
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
