// Dropout (ONNX opset 13) at inference: the input as it is, and a mask of ones where one is asked for.
#include <algorithm>

#include "absl/strings/str_cat.h"
#include "engine/base/status_macros.h"
#include "engine/ops/copy.h"
#include "engine/ops/infer.h"

namespace hachi {
namespace {

absl::Status Infer(Node& node) {
  RETURN_IF_ERROR(CheckInputCount(node, 1, 3));
  if (const Value* training = node.input(2); training != nullptr) {
    if (!training->is_constant() || training->dtype != DType::kBool || training->constant->count() != 1)
      return absl::UnimplementedError("training_mode is computed, expected a constant");
    if (training->constant->As<bool>()[0])
      return absl::UnimplementedError("training_mode is true, expected false");
  }
  if (node.outputs.empty() || node.outputs.size() > 2)
    return absl::InvalidArgumentError(absl::StrCat(node.outputs.size(), " outputs, expected 1 or 2"));
  const Value& input = *node.inputs[0];
  node.outputs[0]->dtype = input.dtype;
  node.outputs[0]->dims = input.dims;
  node.outputs[0]->quant = input.quant;
  if (node.outputs.size() == 2) {
    node.outputs[1]->dtype = DType::kBool;
    node.outputs[1]->dims = input.dims;
  }
  return absl::OkStatus();
}

absl::Status Reference(const Node& node, std::span<const TensorView> inputs, std::span<Tensor> outputs) {
  if (outputs.size() == 2) std::ranges::fill(outputs[1].As<bool>(), true);
  return ReferenceCopy(node, inputs, outputs);
}

}  // namespace

std::span<const OpDef> dropout_ops() {
  static const OpDef defs[] = {{.name = "Dropout",
                                .infer = Infer,
                                .quantize = QuantRule::kKeepScale,
                                .rows = RowsOfElements,
                                .reference = Reference,
                                .offers = CopyOffers(),
                                .layout_agnostic = true}};
  return defs;
}

}  // namespace hachi
