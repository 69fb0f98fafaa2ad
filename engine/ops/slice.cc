// Slice (ONNX opset 13): starts, ends, axes and steps are inputs 1 to 4.
#include <algorithm>
#include <limits>

#include "absl/strings/str_cat.h"
#include "engine/base/status_macros.h"
#include "engine/ops/copy.h"
#include "engine/ops/infer.h"
#include "engine/ops/quantized.h"

namespace hachi {
namespace {

constexpr int64_t kNoEnd =
    std::numeric_limits<int32_t>::max();  // exporters write this or more for "to the end"

// What is taken of one axis.
struct Cut {
  size_t axis;
  Dim start, end;  // as written: negative ones count from the back
  int64_t step;
};

// `elements` gives the elements of one of the node's inputs, where they are known.
template <typename Elements>
absl::StatusOr<std::vector<Cut>> ReadCuts(const Node& node, const Elements& elements) {
  const std::optional<SymbolicShape> starts = elements(1), ends = elements(2);
  if (!starts || !ends)
    return absl::UnimplementedError(
        "starts or ends are computed from more than dimensions, expected known ones");
  SymbolicShape axes, steps(starts->size(), Dim(1));
  for (size_t i = 0; i < starts->size(); ++i) axes.emplace_back(static_cast<int64_t>(i));
  if (node.input(3) != nullptr) axes = elements(3).value_or(SymbolicShape());
  if (node.input(4) != nullptr) steps = elements(4).value_or(SymbolicShape());
  if (ends->size() != starts->size() || axes.size() != starts->size() || steps.size() != starts->size())
    return absl::InvalidArgumentError(absl::StrCat(starts->size(), " starts, ", ends->size(), " ends, ",
                                                   axes.size(), " axes and ", steps.size(),
                                                   " steps are known, expected as many of each"));
  std::vector<Cut> cuts;
  for (size_t i = 0; i < axes.size(); ++i) {
    const auto axis = axes[i].constant(), step = steps[i].constant();
    if (!axis || !step) return absl::UnimplementedError("axes or steps are computed, expected constants");
    ASSIGN_OR_RETURN(const size_t index, CheckAxis(*axis, node.inputs[0]->rank()));
    if (*step == 0) return absl::InvalidArgumentError("a step is 0, expected another");
    cuts.push_back({index, (*starts)[i], (*ends)[i], *step});
  }
  return cuts;
}

struct Range {
  int64_t first, count;
};

// The elements that a cut with numbers takes of `size`.
Range Resolve(int64_t start, int64_t end, int64_t step, int64_t size) {
  if (start < 0) start += size;
  if (end < 0) end = end < -size ? -1 : end + size;
  start = std::clamp<int64_t>(start, 0, step > 0 ? size : std::max<int64_t>(size - 1, 0));
  end = std::clamp<int64_t>(end, step > 0 ? 0 : -1, size);
  const int64_t reach = step > 0 ? end - start : start - end;
  const int64_t stride = step > 0 ? step : -std::max(step, -std::numeric_limits<int64_t>::max());
  return {start, size == 0 || reach <= 0 ? 0 : (reach - 1) / stride + 1};
}

// A position in an axis, counted from its front.
Dim Position(const Dim& written, const Dim& size) {
  const auto number = written.constant();
  if (!number) return written;
  if (*number >= kNoEnd) return size;
  return *number < 0 ? size + written : written;
}

absl::StatusOr<Dim> SlicedSize(const Cut& cut, const Dim& size) {
  const auto number = size.constant(), start = cut.start.constant(), end = cut.end.constant();
  if (number && start && end) return Dim(Resolve(*start, *end, cut.step, *number).count);
  if (cut.step < 0)
    return absl::UnimplementedError(absl::StrCat("cuts ", cut.start.ToText(), " to ", cut.end.ToText(),
                                                 " out of ", size.ToText(), " backwards, expected numbers"));
  // Symbols are taken to be in range; Walk::Take finds out.
  return Dim::FloorDiv(Position(cut.end, size) - Position(cut.start, size) + (cut.step - 1), cut.step);
}

absl::Status Infer(Node& node) {
  RETURN_IF_ERROR(CheckInputCount(node, 3, 5));
  for (size_t i = 1; i < node.inputs.size(); ++i)
    if (node.inputs[i] != nullptr) RETURN_IF_ERROR(CheckInputType(node, i, {DType::kS64, DType::kS32}));
  ASSIGN_OR_RETURN(const std::vector<Cut> cuts,
                   ReadCuts(node, [&](size_t i) { return ContentOf(*node.inputs[i]); }));
  SymbolicShape dims = *node.inputs[0]->dims;
  auto content = dims.size() == 1 ? ContentOf(*node.inputs[0]) : std::nullopt;
  for (const Cut& cut : cuts) {
    const Dim size = dims[cut.axis];
    ASSIGN_OR_RETURN(dims[cut.axis], SlicedSize(cut, size));
    const auto start = cut.start.constant(), end = cut.end.constant();
    if (!content || !start || !end) {
      content.reset();
      continue;
    }
    const Range range = Resolve(*start, *end, cut.step, static_cast<int64_t>(content->size()));
    SymbolicShape taken;
    for (int64_t i = 0; i < range.count; ++i) taken.push_back((*content)[range.first + i * cut.step]);
    content = std::move(taken);
  }
  RETURN_IF_ERROR(SetOutputLike(node, std::move(dims)));
  node.outputs[0]->content = std::move(content);
  return absl::OkStatus();
}

// First element and step of each axis for concrete sizes.
struct Walk {
  AxisNumbers first, step;

  explicit Walk(size_t rank) : first(rank, 0), step(rank, 1) {}

  // INVALID_ARGUMENT where the axis of `size` elements leaves others than the result's `left`.
  absl::Status Take(size_t axis, int64_t start, int64_t end, int64_t by, int64_t size, int64_t left) {
    const Range range = Resolve(start, end, by, size);
    if (range.count != left)
      return absl::InvalidArgumentError(
          absl::StrCat("cuts ", range.count, " of ", size, " elements of axis ", axis, ", expected ", left));
    first[axis] = range.first;
    step[axis] = range.count > 1 ? by : 1;  // nothing lies a step further, however far that is
    return absl::OkStatus();
  }
};

absl::Status Reference(const Node& node, std::span<const TensorView> inputs, std::span<Tensor> outputs) {
  const std::span<const int64_t> shape = inputs[0].shape;
  Walk walk(shape.size());
  for (int64_t i = 0; i < inputs[1].count(); ++i) {
    const auto axis = node.input(3) != nullptr ? CheckAxis(IntegerAt(inputs[3], i), shape.size())
                                               : absl::StatusOr<size_t>(static_cast<size_t>(i));
    RETURN_IF_ERROR(axis.status());
    const int64_t step = node.input(4) != nullptr ? IntegerAt(inputs[4], i) : 1;
    RETURN_IF_ERROR(walk.Take(*axis, IntegerAt(inputs[1], i), IntegerAt(inputs[2], i), step, shape[*axis],
                              outputs[0].shape()[*axis]));
  }
  int64_t begin = 0;
  AxisNumbers strides;
  for (size_t axis = 0; axis < shape.size(); ++axis) {
    const int64_t stride = CountOf(shape.subspan(axis + 1));
    begin += walk.first[axis] * stride;
    strides.push_back(walk.step[axis] * stride);
  }
  CopyStrided(inputs[0], begin, strides, outputs[0]);
  return absl::OkStatus();
}

absl::StatusOr<StepMaker> Take(const LowerContext& context) {
  const TensorSpec src = context.Input(0), dst = context.Output();
  ASSIGN_OR_RETURN(const std::vector<Cut> cuts, ReadCuts(context.node, [&](size_t i) {
                     auto content = ContentOf(*context.node.inputs[i]);
                     if (content)
                       for (Dim& element : *content)
                         element = Dim(element.Evaluate(context.bindings).value());
                     return content;
                   }));
  Walk walk(src.shape.size());
  for (const Cut& cut : cuts)
    RETURN_IF_ERROR(walk.Take(cut.axis, *cut.start.constant(), *cut.end.constant(), cut.step,
                              src.shape[cut.axis], dst.shape[cut.axis]));
  std::vector<int64_t> strides = src.layout.StridesOf(src.shape);
  int64_t begin = 0;
  for (size_t axis = 0; axis < strides.size(); ++axis) {
    begin += walk.first[axis] * strides[axis];
    strides[axis] *= walk.step[axis];
  }
  return TakeBoxes(
      {{0, 0,
        StridedCopy(dst.shape, begin, strides, 0, dst.layout.StridesOf(dst.shape), SizeOf(src.dtype))}});
}

absl::StatusOr<RowAxis> RowsOfSlice(const RowQuery& query) {
  RETURN_IF_ERROR(OnlyFirstHoldsRows(query));
  const RowAxis axis = query.inputs[0];
  ASSIGN_OR_RETURN(const std::vector<Cut> cuts,
                   ReadCuts(query.node, [&](size_t i) { return ContentOf(*query.node.inputs[i]); }));
  for (const Cut& cut : cuts) {
    if (cut.axis != axis) continue;
    const bool whole = cut.step == 1 && cut.start == Dim(0) &&
                       (*query.node.inputs[0]->dims)[cut.axis] == (*query.node.output()->dims)[cut.axis];
    if (!whole) return MixesRows(cut.axis);
  }
  return axis;
}

}  // namespace

std::span<const OpDef> slice_ops() {
  static const OpDef defs[] = {{.name = "Slice",
                                .infer = Infer,
                                .quantize = QuantRule::kKeepScale,
                                .rows = RowsOfSlice,
                                .reference = Reference,
                                .offers = {{.name = "hachi_copy", .take = Take}},
                                .layout_agnostic = true}};
  return defs;
}

}  // namespace hachi
