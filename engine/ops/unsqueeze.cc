// Unsqueeze (ONNX opset 13): axes of one element where input 1 says, counted in the result.
#include <set>

#include "absl/strings/str_cat.h"
#include "engine/base/status_macros.h"
#include "engine/ops/copy.h"
#include "engine/ops/infer.h"

namespace hachi {
namespace {

absl::Status Infer(Node& node) {
  RETURN_IF_ERROR(CheckInputCount(node, 2, 2));
  const SymbolicShape& input = *node.inputs[0]->dims;
  ASSIGN_OR_RETURN(const std::vector<int64_t> axes, KnownInts(node, 1, "axes"));
  const size_t rank = input.size() + axes.size();
  std::set<size_t> added;
  for (const int64_t axis : axes) {
    ASSIGN_OR_RETURN(const size_t index, CheckAxis(axis, rank));
    if (!added.insert(index).second)
      return absl::InvalidArgumentError(absl::StrCat("axis ", axis, " is there twice, expected each once"));
  }
  SymbolicShape dims;
  auto next = input.begin();
  for (size_t i = 0; i < rank; ++i) dims.push_back(added.contains(i) ? Dim(1) : *next++);
  RETURN_IF_ERROR(SetOutputLike(node, std::move(dims)));
  node.outputs[0]->content = rank <= 1 ? ContentOf(*node.inputs[0]) : std::nullopt;
  return absl::OkStatus();
}

}  // namespace

std::span<const OpDef> unsqueeze_ops() {
  static const OpDef defs[] = {{.name = "Unsqueeze",
                                .infer = Infer,
                                .quantize = QuantRule::kKeepScale,
                                .rows = RowsOfSameOrder,
                                .reference = ReferenceCopy,
                                .offers = CopyOffers()}};
  return defs;
}

}  // namespace hachi
