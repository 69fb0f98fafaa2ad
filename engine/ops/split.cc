// Split (ONNX opset 18): input 0 cut along one axis, into the sizes of input 1, or into num_outputs equal
// parts of which the last may be smaller.
#include <algorithm>
#include <vector>

#include "absl/strings/str_cat.h"
#include "engine/base/status_macros.h"
#include "engine/ops/copy.h"
#include "engine/ops/infer.h"

namespace hachi {
namespace {

absl::StatusOr<size_t> AxisOf(const Node& node) {
  ASSIGN_OR_RETURN(const int64_t axis, node.Int("axis", 0));
  return CheckAxis(axis, node.inputs[0]->rank());
}

// The size of each part.
absl::StatusOr<SymbolicShape> PartsOf(const Node& node, const Dim& size) {
  const size_t outputs = node.outputs.size();
  if (node.input(1) != nullptr) {
    const auto parts = ContentOf(*node.inputs[1]);
    if (!parts)
      return absl::UnimplementedError(
          absl::StrCat("the sizes '", node.inputs[1]->name,
                       "' are computed from more than dimensions, expected known ones"));
    Dim total(0);
    for (const Dim& part : *parts) total = total + part;
    if (parts->size() != outputs || total != size)
      return absl::InvalidArgumentError(absl::StrCat("the sizes are ", ShapeText(*parts), ", expected ",
                                                     outputs, " that add up to ", size.ToText()));
    return *parts;
  }
  ASSIGN_OR_RETURN(const int64_t count, node.Int("num_outputs", static_cast<int64_t>(outputs)));
  if (count != static_cast<int64_t>(outputs))
    return absl::InvalidArgumentError(absl::StrCat("num_outputs is ", count, ", expected ", outputs));
  if (const auto exact = size.ExactQuotient(Dim(count))) return SymbolicShape(outputs, *exact);
  const auto number = size.constant();
  if (!number)
    return absl::UnimplementedError(
        absl::StrCat("cuts ", size.ToText(), " into ", count, " parts, expected a multiple of that"));
  const int64_t part = (*number + count - 1) / count;
  SymbolicShape parts;
  for (int64_t i = 0; i < count; ++i) parts.emplace_back(std::clamp<int64_t>(*number - i * part, 0, part));
  return parts;
}

absl::Status Infer(Node& node) {
  RETURN_IF_ERROR(CheckInputCount(node, 1, 2));
  RETURN_IF_ERROR(CheckRank(node, 0, 1, 12));
  if (node.outputs.empty()) return absl::InvalidArgumentError("no outputs, expected at least 1");
  const Value& input = *node.inputs[0];
  if (input.quant && !input.quant->per_tensor())
    return absl::UnimplementedError(
        absl::StrCat("input '", input.name, "' is quantized per channel, expected per tensor"));
  ASSIGN_OR_RETURN(const size_t axis, AxisOf(node));
  ASSIGN_OR_RETURN(const SymbolicShape parts, PartsOf(node, (*input.dims)[axis]));
  const auto content = input.rank() == 1 ? ContentOf(input) : std::nullopt;
  int64_t before = 0;
  for (size_t i = 0; i < node.outputs.size(); ++i) {
    Value& output = *node.outputs[i];
    output.dtype = input.dtype;
    output.dims = input.dims;
    (*output.dims)[axis] = parts[i];
    output.quant = input.quant;
    output.content.reset();
    if (!content || !parts[i].constant()) continue;
    const auto first = content->begin() + before;
    before += *parts[i].constant();
    output.content.emplace(first, content->begin() + before);
  }
  return absl::OkStatus();
}

absl::Status Reference(const Node& node, std::span<const TensorView> inputs, std::span<Tensor> outputs) {
  ASSIGN_OR_RETURN(const size_t axis, AxisOf(node));
  const TensorView& x = inputs[0];
  const int64_t inner = CountOf(x.shape.subspan(axis + 1)) * static_cast<int64_t>(SizeOf(x.dtype));
  const int64_t outer = CountOf(x.shape.first(axis));
  int64_t before = 0;
  for (Tensor& y : outputs) {
    const int64_t part = y.shape()[axis];
    for (int64_t o = 0; o < outer; ++o)
      for (int64_t i = 0; i < part * inner; ++i)
        y.bytes()[static_cast<size_t>(o * part * inner + i)] =
            x.bytes[(o * x.shape[axis] + before) * inner + i];
    before += part;
  }
  return absl::OkStatus();
}

absl::StatusOr<StepMaker> Take(const LowerContext& context) {
  ASSIGN_OR_RETURN(const size_t axis, AxisOf(context.node));
  const TensorSpec src = context.Input(0);
  const std::vector<int64_t> strides = src.layout.StridesOf(src.shape);
  std::vector<BoxCopy> boxes;
  int64_t before = 0;
  for (size_t i = 0; i < context.node.outputs.size(); ++i) {
    const TensorSpec dst = context.Spec(context.node.outputs[i]);
    boxes.push_back({0, i,
                     StridedCopy(dst.shape, before * strides[axis], strides, 0,
                                 dst.layout.StridesOf(dst.shape), SizeOf(src.dtype))});
    before += dst.shape[axis];
  }
  return TakeBoxes(std::move(boxes));
}

absl::StatusOr<RowAxis> RowsOfSplit(const RowQuery& query) {
  RETURN_IF_ERROR(OnlyFirstHoldsRows(query));
  ASSIGN_OR_RETURN(const size_t axis, AxisOf(query.node));
  if (query.inputs[0] == axis && query.node.outputs.size() > 1) return MixesRows(axis);
  return query.inputs[0];
}

}  // namespace

std::span<const OpDef> split_ops() {
  static const OpDef defs[] = {{.name = "Split",
                                .infer = Infer,
                                .quantize = QuantRule::kKeepScale,
                                .rows = RowsOfSplit,
                                .shape_input = 1,
                                .reference = Reference,
                                .offers = {{.name = "hachi_copy", .take = Take}},
                                .layout_agnostic = true}};
  return defs;
}

}  // namespace hachi
