// Reorder: ours; brings its input into the layout that the output value states.
#include "engine/ops/copy.h"
#include "engine/ops/infer.h"

namespace hachi {

const OpDef& reorder_op() {
  static const OpDef def = {.name = "Reorder",
                            .infer = InferLikeInput,
                            .quantize = QuantRule::kKeepScale,
                            .rows = RowsOfElements,
                            .reference = ReferenceCopy,
                            .offers = CopyOffers()};
  return def;
}

}  // namespace hachi
