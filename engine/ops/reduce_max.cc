// ReduceMax (ONNX opset 20).
#include "engine/ops/reduce.h"

namespace hachi {
namespace {

absl::Status Reference(const Node& node, std::span<const TensorView> inputs, std::span<Tensor> outputs) {
  return ReferenceReduction(node, inputs, outputs, Reduction::kMax);
}

}  // namespace

std::span<const OpDef> reduce_max_ops() {
  static const OpDef defs[] = {{.name = "ReduceMax",
                                .infer = InferReduction,
                                .rows = RowsOfReduction,
                                .reference = Reference,
                                .offers = ReductionOffers(Reduction::kMax),
                                .layout_agnostic = true}};
  return defs;
}

}  // namespace hachi
