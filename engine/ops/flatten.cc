// Flatten (ONNX opset 13): a matrix of the axes before `axis` by those from it on.
#include "absl/strings/str_cat.h"
#include "engine/base/status_macros.h"
#include "engine/ops/copy.h"
#include "engine/ops/infer.h"

namespace hachi {
namespace {

absl::Status Infer(Node& node) {
  RETURN_IF_ERROR(CheckInputCount(node, 1, 1));
  const SymbolicShape& dims = *node.inputs[0]->dims;
  ASSIGN_OR_RETURN(int64_t axis, node.Int("axis", 1));
  const auto rank = static_cast<int64_t>(dims.size());
  if (axis < -rank || axis > rank)
    return absl::InvalidArgumentError(absl::StrCat("axis is ", axis, ", expected ", -rank, " to ", rank));
  if (axis < 0) axis += rank;
  const auto middle = dims.begin() + axis;
  return SetOutputLike(
      node, {CountOf(SymbolicShape(dims.begin(), middle)), CountOf(SymbolicShape(middle, dims.end()))});
}

}  // namespace

std::span<const OpDef> flatten_ops() {
  static const OpDef defs[] = {{.name = "Flatten",
                                .infer = Infer,
                                .quantize = QuantRule::kKeepScale,
                                .rows = RowsOfSameOrder,
                                .reference = ReferenceCopy,
                                .offers = CopyOffers()}};
  return defs;
}

}  // namespace hachi
