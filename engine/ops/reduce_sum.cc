// ReduceSum (ONNX opset 13).
#include "engine/ops/reduce.h"

namespace hachi {
namespace {

absl::Status Reference(const Node& node, std::span<const TensorView> inputs, std::span<Tensor> outputs) {
  return ReferenceReduction(node, inputs, outputs, Reduction::kSum);
}

}  // namespace

const OpDef& reduce_sum_op() {
  static const OpDef def = {.name = "ReduceSum",
                            .infer = InferReduction,
                            .rows = RowsOfReduction,
                            .reference = Reference,
                            .offers = ReductionOffers(Reduction::kSum),
                            .layout_agnostic = true};
  return def;
}

}  // namespace hachi
