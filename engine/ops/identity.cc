// Identity (ONNX opset 16) on tensors.
#include "engine/ops/copy.h"
#include "engine/ops/infer.h"

namespace hachi {

const OpDef& identity_op() {
  static const OpDef def = {.name = "Identity",
                            .infer = InferLikeInput,
                            .quantize = QuantRule::kKeepScale,
                            .rows = RowsOfElements,
                            .reference = ReferenceCopy,
                            .offers = CopyOffers(),
                            .layout_agnostic = true};
  return def;
}

}  // namespace hachi
