// HardSwish (ONNX opset 14).
#include "engine/ops/activation.h"

namespace hachi {
namespace {

absl::StatusOr<PostOp> AsPostOp(const Node& /*node*/) { return PostOp{PostOp::Kind::kHardSwish}; }

}  // namespace

const OpDef& hard_swish_op() {
  static const OpDef def = {.name = "HardSwish",
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
