// ReduceSum (ONNX opset 13).
#include "engine/ops/reduce.h"

namespace hachi {
namespace {

absl::Status Reference(const Node& node, std::span<const TensorView> inputs, std::span<Tensor> outputs) {
  return ReferenceReduction(node, inputs, outputs, Reduction::kSum);
}

}  // namespace

std::span<const OpDef> reduce_sum_ops() {
  static const OpDef defs[] = {{.name = "ReduceSum",
                                .infer = InferReduction,
                                .rows = RowsOfReduction,
                                .reference = Reference,
                                .offers = ReductionOffers(Reduction::kSum),
                                .layout_agnostic = true}};
  return defs;
}

}  // namespace hachi
