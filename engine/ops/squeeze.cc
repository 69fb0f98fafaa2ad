// Squeeze (ONNX opset 13): without the axes of input 1, or without all of one element.
#include <set>

#include "absl/strings/str_cat.h"
#include "engine/base/status_macros.h"
#include "engine/ops/copy.h"
#include "engine/ops/infer.h"

namespace hachi {
namespace {

absl::Status Infer(Node& node) {
  RETURN_IF_ERROR(CheckInputCount(node, 1, 2));
  const SymbolicShape& input = *node.inputs[0]->dims;
  std::set<size_t> removed;
  if (node.input(1) != nullptr) {
    ASSIGN_OR_RETURN(const std::vector<int64_t> axes, KnownInts(node, 1, "axes"));
    for (const int64_t axis : axes) {
      ASSIGN_OR_RETURN(const size_t index, CheckAxis(axis, input.size()));
      if (input[index] != Dim(1))
        return absl::InvalidArgumentError(
            absl::StrCat("axis ", axis, " of ", ShapeText(input), " is squeezed, expected it to be 1"));
      removed.insert(index);
    }
  } else {
    for (size_t i = 0; i < input.size(); ++i)
      if (input[i] == Dim(1)) removed.insert(i);
  }
  SymbolicShape dims;
  for (size_t i = 0; i < input.size(); ++i)
    if (!removed.contains(i)) dims.push_back(input[i]);
  RETURN_IF_ERROR(SetOutputLike(node, std::move(dims)));
  node.outputs[0]->content = ContentOf(*node.inputs[0]);
  return absl::OkStatus();
}

}  // namespace

std::span<const OpDef> squeeze_ops() {
  static const OpDef defs[] = {{.name = "Squeeze",
                                .infer = Infer,
                                .quantize = QuantRule::kKeepScale,
                                .rows = RowsOfSameOrder,
                                .reference = ReferenceCopy,
                                .offers = CopyOffers()}};
  return defs;
}

}  // namespace hachi
