// Reshape (ONNX opset 21).
#include <optional>

#include "absl/strings/str_cat.h"
#include "engine/base/status_macros.h"
#include "engine/ops/copy.h"
#include "engine/ops/infer.h"

namespace hachi {
namespace {

absl::Status Infer(Node& node) {
  RETURN_IF_ERROR(CheckInputCount(node, 2, 2));
  RETURN_IF_ERROR(CheckRank(node, 1, 1, 1));
  ASSIGN_OR_RETURN(const int64_t allow_zero, node.Int("allowzero", 0));
  const SymbolicShape& input = *node.inputs[0]->dims;
  const auto shape = ContentOf(*node.inputs[1]);
  if (!shape)
    return absl::UnimplementedError(
        absl::StrCat("the shape '", node.inputs[1]->name,
                     "' is computed from more than dimensions, expected one that is known"));
  SymbolicShape dims;
  std::optional<size_t> inferred;
  for (size_t i = 0; i < shape->size(); ++i) {
    const Dim& dim = (*shape)[i];
    const auto number = dim.constant();
    if (number && *number == -1 && !inferred) {
      inferred = i;
      dims.emplace_back(1);
    } else if (number && *number == 0 && allow_zero == 0 && i < input.size()) {
      dims.push_back(input[i]);
    } else if (number && *number < 0) {
      return absl::InvalidArgumentError(absl::StrCat("the shape is ", ShapeText(*shape),
                                                     ", expected at most one -1 and no other negative"));
    } else {
      dims.push_back(dim);
    }
  }
  const Dim total = CountOf(input), known = CountOf(dims);
  if (inferred) {
    const auto quotient = total.ExactQuotient(known);
    if (!quotient)
      return absl::InvalidArgumentError(absl::StrCat("the shape is ", ShapeText(*shape),
                                                     ", expected one that divides the elements of ",
                                                     ShapeText(input)));
    dims[*inferred] = *quotient;
  } else if (total != known) {
    return absl::InvalidArgumentError(absl::StrCat(
        "the shape is ", ShapeText(dims), ", expected one with as many elements as ", ShapeText(input)));
  }
  const bool flat = dims.size() <= 1;
  RETURN_IF_ERROR(SetOutputLike(node, std::move(dims)));
  node.outputs[0]->content = flat ? ContentOf(*node.inputs[0]) : std::nullopt;
  return absl::OkStatus();
}

}  // namespace

std::span<const OpDef> reshape_ops() {
  static const OpDef defs[] = {{.name = "Reshape",
                                .infer = Infer,
                                .quantize = QuantRule::kKeepScale,
                                .rows = RowsOfSameOrder,
                                .shape_input = 1,
                                .reference = ReferenceCopy,
                                .offers = CopyOffers()}};
  return defs;
}

}  // namespace hachi
