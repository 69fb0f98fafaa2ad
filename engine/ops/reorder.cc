// Reorder: ours; brings its input into the layout that the output value states.
#include "engine/ops/copy.h"
#include "engine/ops/infer.h"

namespace hachi {

std::span<const OpDef> reorder_ops() {
  static const OpDef defs[] = {{.name = "Reorder",
                                .infer = InferLikeInput,
                                .quantize = QuantRule::kKeepScale,
                                .rows = RowsOfElements,
                                .reference = ReferenceCopy,
                                .offers = CopyOffers()}};
  return defs;
}

}  // namespace hachi
