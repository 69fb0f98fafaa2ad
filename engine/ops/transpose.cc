// Transpose (ONNX opset 13); with our attribute `swap_last` it swaps the last two axes, whatever the rank.
#include <algorithm>
#include <numeric>

#include "absl/strings/str_cat.h"
#include "engine/base/status_macros.h"
#include "engine/ops/copy.h"
#include "engine/ops/infer.h"

namespace hachi {
namespace {

// Axis i of the output is axis perm[i] of the input.
absl::StatusOr<AxisNumbers> PermutationOf(const Node& node) {
  const size_t rank = node.inputs[0]->rank();
  AxisNumbers reversed(rank);
  std::iota(reversed.rbegin(), reversed.rend(), 0);
  ASSIGN_OR_RETURN(const int64_t swap_last, node.Int("swap_last", 0));
  if (swap_last != 0 && rank >= 2) {
    AxisNumbers swapped(reversed.rbegin(), reversed.rend());
    std::swap(swapped[rank - 1], swapped[rank - 2]);
    return swapped;
  }
  ASSIGN_OR_RETURN(const AxisNumbers perm, node.Ints("perm", reversed));
  AxisFlags seen(rank, false);
  bool valid = perm.size() == rank;
  for (size_t i = 0; valid && i < rank; ++i) {
    valid = perm[i] >= 0 && perm[i] < static_cast<int64_t>(rank) && !seen[perm[i]];
    if (valid) seen[perm[i]] = true;
  }
  if (!valid)
    return absl::InvalidArgumentError(
        absl::StrCat("perm is ", ShapeText(perm), ", expected a permutation of ", rank, " axes"));
  return perm;
}

absl::Status Infer(Node& node) {
  RETURN_IF_ERROR(CheckInputCount(node, 1, 1));
  ASSIGN_OR_RETURN(const AxisNumbers perm, PermutationOf(node));
  SymbolicShape dims;
  for (const int64_t axis : perm) dims.push_back((*node.inputs[0]->dims)[axis]);
  return SetOutputLike(node, std::move(dims));
}

absl::Status Reference(const Node& node, std::span<const TensorView> inputs, std::span<Tensor> outputs) {
  ASSIGN_OR_RETURN(const AxisNumbers perm, PermutationOf(node));
  AxisNumbers strides;
  for (const int64_t axis : perm) strides.push_back(CountOf(inputs[0].shape.subspan(axis + 1)));
  CopyStrided(inputs[0], 0, strides, outputs[0]);
  return absl::OkStatus();
}

absl::StatusOr<StepMaker> Take(const LowerContext& context) {
  ASSIGN_OR_RETURN(const AxisNumbers perm, PermutationOf(context.node));
  const TensorSpec dst = context.Output();
  // The input with its axes named as the output's: only their order in memory differs.
  TensorSpec src = context.Input(0);
  std::vector<int> order;
  for (const int axis : src.layout.Order(perm.size()))
    order.push_back(static_cast<int>(std::find(perm.begin(), perm.end(), axis) - perm.begin()));
  src.shape = dst.shape;
  src.layout = Layout::FromOrder(std::move(order));
  return TakePermute(src, dst);
}

absl::StatusOr<RowAxis> RowsOfTranspose(const RowQuery& query) {
  if (!query.inputs[0]) return RowAxis();
  ASSIGN_OR_RETURN(const AxisNumbers perm, PermutationOf(query.node));
  return RowAxis(std::ranges::find(perm, static_cast<int64_t>(*query.inputs[0])) - perm.begin());
}

}  // namespace

std::span<const OpDef> transpose_ops() {
  static const OpDef defs[] = {{.name = "Transpose",
                                .infer = Infer,
                                .quantize = QuantRule::kKeepScale,
                                .rows = RowsOfTranspose,
                                .reference = Reference,
                                .offers = {{.name = "hachi_permute", .take = Take}}}};
  return defs;
}

}  // namespace hachi
