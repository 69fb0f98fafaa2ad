#include "engine/ops/infer.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "engine/base/status_macros.h"

namespace hachi {

absl::Status CheckInputCount(const Node& node, size_t min, size_t max) {
  if (node.inputs.size() > max || node.inputs.size() < min)
    return absl::InvalidArgumentError(absl::StrCat(node.inputs.size(), " inputs, expected ", min,
                                                   min == max ? "" : absl::StrCat(" to ", max)));
  for (size_t i = 0; i < min; ++i)
    if (node.inputs[i] == nullptr)
      return absl::InvalidArgumentError(absl::StrCat("input ", i, " is left out, expected a value"));
  return absl::OkStatus();
}

absl::Status CheckInputType(const Node& node, size_t i, std::initializer_list<DType> types) {
  const DType found = node.inputs[i]->dtype;
  if (std::find(types.begin(), types.end(), found) != types.end()) return absl::OkStatus();
  std::string expected;
  for (const DType type : types)
    absl::StrAppend(&expected, expected.empty() ? "" : " or ", std::string(NameOf(type)));
  return absl::UnimplementedError(absl::StrCat("input ", i, " ('", node.inputs[i]->name, "') has type ",
                                               std::string(NameOf(found)), ", expected ", expected));
}

absl::Status CheckRank(const Node& node, size_t i, size_t min, size_t max) {
  const size_t rank = node.inputs[i]->rank();
  if (rank >= min && rank <= max) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("input ", i, " ('", node.inputs[i]->name, "') has rank ",
                                                 rank, ", expected ", min,
                                                 min == max ? "" : absl::StrCat(" to ", max)));
}

absl::StatusOr<size_t> CheckAxis(int64_t axis, size_t rank) {
  const auto signed_rank = static_cast<int64_t>(rank);
  if (axis < -signed_rank || axis >= signed_rank)
    return absl::InvalidArgumentError(
        absl::StrCat("axis is ", axis, ", expected ", -signed_rank, " to ", signed_rank - 1));
  return static_cast<size_t>(axis < 0 ? axis + signed_rank : axis);
}

absl::StatusOr<SymbolicShape> BroadcastDims(const SymbolicShape& a, const SymbolicShape& b) {
  const size_t rank = std::max(a.size(), b.size());
  SymbolicShape dims(rank);
  for (size_t i = 0; i < rank; ++i) {
    const Dim left = i + a.size() < rank ? Dim(1) : a[i + a.size() - rank];
    const Dim right = i + b.size() < rank ? Dim(1) : b[i + b.size() - rank];
    if (left == right || right == Dim(1)) {
      dims[i] = left;
    } else if (left == Dim(1)) {
      dims[i] = right;
    } else {
      return absl::InvalidArgumentError(absl::StrCat("shapes ", ShapeText(a), " and ", ShapeText(b),
                                                     " do not broadcast, expected equal dimensions or 1"));
    }
  }
  return dims;
}

absl::Status SetOutput(Node& node, DType dtype, SymbolicShape dims) {
  if (node.outputs.size() != 1)
    return absl::InvalidArgumentError(absl::StrCat(node.outputs.size(), " outputs, expected 1"));
  node.outputs[0]->dtype = dtype;
  node.outputs[0]->dims = std::move(dims);
  return absl::OkStatus();
}

absl::Status InferLikeInput(Node& node) {
  RETURN_IF_ERROR(CheckInputCount(node, 1, 1));
  return SetOutput(node, node.inputs[0]->dtype, *node.inputs[0]->dims);
}

}  // namespace hachi
