// ReduceSum (ONNX opset 13).
#include "engine/ops/reduce.h"

namespace hachi {
namespace {

absl::Status Reference(const Node& node, std::span<const TensorView> inputs, std::span<Tensor> outputs) {
  return ReferenceReduction(node, inputs, outputs, Reduction::kSum);
}

absl::StatusOr<std::unique_ptr<Step>> Lower(const LowerContext& context) {
  return LowerReduction(context, Reduction::kSum);
}

}  // namespace

const OpDef& reduce_sum_op() {
  static const OpDef def = {.name = "ReduceSum",
                            .infer = InferReduction,
                            .rows = RowsOfReduction,
                            .reference = Reference,
                            .lower = Lower,
                            .layout_agnostic = true};
  return def;
}

}  // namespace hachi
