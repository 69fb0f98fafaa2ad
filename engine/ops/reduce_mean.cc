// ReduceMean (ONNX opset 18).
#include "engine/ops/reduce.h"

namespace hachi {
namespace {

absl::Status Reference(const Node& node, std::span<const TensorView> inputs, std::span<Tensor> outputs) {
  return ReferenceReduction(node, inputs, outputs, Reduction::kMean);
}

}  // namespace

std::span<const OpDef> reduce_mean_ops() {
  static const OpDef defs[] = {{.name = "ReduceMean",
                                .infer = InferReduction,
                                .rows = RowsOfReduction,
                                .reference = Reference,
                                .offers = ReductionOffers(Reduction::kMean),
                                .layout_agnostic = true}};
  return defs;
}

}  // namespace hachi
