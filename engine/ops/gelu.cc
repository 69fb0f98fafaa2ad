// Gelu (ONNX opset 20). In FP32, alone and behind a product, the library's polynomial is off by at most 1e-6
// × (1 + |y|).
#include "absl/strings/str_cat.h"
#include "engine/base/status_macros.h"
#include "engine/ops/activation.h"

namespace hachi {
namespace {

absl::StatusOr<PostOp> AsPostOp(const Node& node) {
  const auto approximate = node.String("approximate", "none");
  RETURN_IF_ERROR(approximate.status());
  if (*approximate == "none") return PostOp{PostOp::Kind::kGelu};
  if (*approximate == "tanh") return PostOp{PostOp::Kind::kGeluTanh};
  return absl::InvalidArgumentError(
      absl::StrCat("approximate is '", *approximate, "', expected none or tanh"));
}

}  // namespace

const OpDef& gelu_op() {
  static const OpDef def = {.name = "Gelu",
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
