// Operators whose output is the elements of input 0 in row-major order, with other dimensions or in another
// layout (each in its newest form, up to ONNX opset 21). A member is a row of kCopies.
#include <algorithm>
#include <optional>
#include <set>

#include "absl/strings/str_cat.h"
#include "engine/base/status_macros.h"
#include "engine/ops/copy.h"
#include "engine/ops/family.h"
#include "engine/ops/infer.h"

namespace hachi {
namespace {

// At inference: the input as it is, and a mask of ones where one is asked for.
absl::Status InferDropout(Node& node) {
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

// Ours, for graphs of opset 6 and older: input 0 with axes of one element behind its own, so that
// broadcasting puts its first axis at `axis` of input 1.
absl::Status InferAlignAxes(Node& node) {
  RETURN_IF_ERROR(CheckInputCount(node, 2, 2));
  ASSIGN_OR_RETURN(const int64_t axis, node.Int("axis", 0));
  const size_t rank = node.inputs[1]->rank();
  SymbolicShape dims = *node.inputs[0]->dims;
  ASSIGN_OR_RETURN(const size_t first, CheckAxis(axis, rank));
  if (first + dims.size() > rank)
    return absl::InvalidArgumentError(absl::StrCat("axis is ", axis, " for an operand of rank ", dims.size(),
                                                   ", expected it to end within rank ", rank));
  dims.resize(rank - first, Dim(1));
  return SetOutputLike(node, std::move(dims));
}

// A matrix of the axes before `axis` by those from it on.
absl::Status InferFlatten(Node& node) {
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

// Input 1 is the shape: -1 is what is left, 0 the input's own.
absl::Status InferReshape(Node& node) {
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
  // What is kept takes no part: sums of symbols are not divided by each other.
  SymbolicShape rest = input, asked = dims;
  if (inferred) asked.erase(asked.begin() + static_cast<std::ptrdiff_t>(*inferred));
  std::erase_if(asked, [&](const Dim& dim) {
    const auto same = std::ranges::find(rest, dim);
    if (same == rest.end()) return false;
    rest.erase(same);
    return true;
  });
  const Dim total = CountOf(rest), known = CountOf(asked);
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

// Without the axes of input 1, or without all of one element.
absl::Status InferSqueeze(Node& node) {
  RETURN_IF_ERROR(CheckInputCount(node, 1, 2));
  const SymbolicShape& input = *node.inputs[0]->dims;
  std::set<size_t> removed;
  if (node.input(1) != nullptr) {
    ASSIGN_OR_RETURN(const AxisNumbers axes, KnownInts(node, 1, "axes"));
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

// Axes of one element where input 1 says, counted in the result.
absl::Status InferUnsqueeze(Node& node) {
  RETURN_IF_ERROR(CheckInputCount(node, 2, 2));
  const SymbolicShape& input = *node.inputs[0]->dims;
  ASSIGN_OR_RETURN(const AxisNumbers axes, KnownInts(node, 1, "axes"));
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

absl::Status Reference(const Node& node, std::span<const TensorView> inputs, std::span<Tensor> outputs) {
  if (outputs.size() == 2) std::ranges::fill(outputs[1].As<bool>(), true);  // Dropout's mask
  return ReferenceCopy(node, inputs, outputs);
}

struct Copy {
  std::string_view name;
  absl::Status (*infer)(Node& node);
  absl::StatusOr<RowAxis> (*rows)(const RowQuery& query);
  bool layout_agnostic = false;
  int shape_input = -1;
};

constexpr Copy kCopies[] = {
    {"AlignAxes", InferAlignAxes, RowsOfSameOrder, /*layout_agnostic=*/false, /*shape_input=*/1},
    {"Dropout", InferDropout, RowsOfElements, /*layout_agnostic=*/true},
    {"Flatten", InferFlatten, RowsOfSameOrder},
    {"Identity", InferLikeInput, RowsOfElements, /*layout_agnostic=*/true},
    {"Reorder", InferLikeInput, RowsOfElements},  // ours: into the layout that the output value states
    {"Reshape", InferReshape, RowsOfSameOrder, /*layout_agnostic=*/false, /*shape_input=*/1},
    {"Squeeze", InferSqueeze, RowsOfSameOrder},
    {"Unsqueeze", InferUnsqueeze, RowsOfSameOrder},
};

OpDef DefOf(const Copy& copy) {
  return {.name = copy.name,
          .infer = copy.infer,
          .quantize = QuantRule::kKeepScale,
          .rows = copy.rows,
          .shape_input = copy.shape_input,
          .reference = Reference,
          .offers = CopyOffers(),
          .layout_agnostic = copy.layout_agnostic};
}

}  // namespace

std::span<const OpDef> copies_ops() {
  static const std::vector<OpDef> defs = OpsOf(kCopies, DefOf);
  return defs;
}

}  // namespace hachi
