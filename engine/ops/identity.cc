// Identity (ONNX opset 16) on tensors.
#include "engine/ops/copy.h"
#include "engine/ops/infer.h"

namespace hachi {

std::span<const OpDef> identity_ops() {
  static const OpDef defs[] = {{.name = "Identity",
                                .infer = InferLikeInput,
                                .quantize = QuantRule::kKeepScale,
                                .rows = RowsOfElements,
                                .reference = ReferenceCopy,
                                .offers = CopyOffers(),
                                .layout_agnostic = true}};
  return defs;
}

}  // namespace hachi
