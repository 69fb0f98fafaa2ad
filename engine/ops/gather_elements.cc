// What picks or replaces single elements or slices by indices: GatherElements, GatherND, ScatterElements and
// ScatterND (ONNX opsets 13 to 18). An index out of range picks NaN (integers: all bits set) and writes
// nothing.
#include <algorithm>
#include <cstring>
#include <limits>
#include <vector>

#include "absl/strings/str_cat.h"
#include "engine/base/status_macros.h"
#include "engine/ops/index_range.h"
#include "engine/ops/infer.h"
#include "engine/ops/op.h"
#include "engine/ops/quantized.h"

namespace hachi {
namespace {

absl::StatusOr<size_t> AxisOf(const Node& node) {
  ASSIGN_OR_RETURN(const int64_t axis, node.Int("axis", 0));
  return CheckAxis(axis, node.inputs[0]->rank());
}

// `index` counted from the front; -1 where it is out of range.
int64_t Resolve(int64_t index, int64_t size) {
  if (index < -size || index >= size) return -1;
  return index < 0 ? index + size : index;
}

absl::Status CheckIndices(const Node& node, size_t i) {
  return CheckInputType(node, i, {DType::kS64, DType::kS32});
}

// ---- one index an element, along one axis

absl::Status InferGatherElements(Node& node) {
  RETURN_IF_ERROR(CheckInputCount(node, 2, 2));
  RETURN_IF_ERROR(CheckIndices(node, 1));
  RETURN_IF_ERROR(CheckRank(node, 0, 1, 12));
  RETURN_IF_ERROR(CheckRank(node, 1, node.inputs[0]->rank(), node.inputs[0]->rank()));
  RETURN_IF_ERROR(AxisOf(node).status());
  return SetOutputLike(node, *node.inputs[1]->dims);
}

// The flat place in `data` that element `i` of an indices' shape means, with `index` along `axis`.
int64_t PlaceOf(int64_t i, std::span<const int64_t> indices, std::span<const int64_t> data, size_t axis,
                int64_t index) {
  int64_t place = 0, stride = 1;
  for (size_t a = indices.size(); a-- > 0; i /= indices[a], stride *= data[a])
    place += (a == axis ? index : i % indices[a]) * stride;
  return place;
}

absl::Status GatherElements(const Node& node, std::span<const TensorView> inputs, std::span<Tensor> outputs) {
  ASSIGN_OR_RETURN(const size_t axis, AxisOf(node));
  const TensorView &data = inputs[0], &indices = inputs[1];
  const auto bytes = static_cast<int64_t>(SizeOf(data.dtype));
  for (int64_t i = 0; i < indices.count(); ++i) {
    std::byte* out = outputs[0].bytes().data() + i * bytes;
    const int64_t index = Resolve(IntegerAt(indices, i), data.shape[axis]);
    if (index < 0)
      std::memset(out, kNothing, static_cast<size_t>(bytes));
    else
      std::memcpy(out, data.bytes + PlaceOf(i, indices.shape, data.shape, axis, index) * bytes,
                  static_cast<size_t>(bytes));
  }
  return absl::OkStatus();
}

absl::StatusOr<RowAxis> RowsAlongOneAxis(const RowQuery& query) {
  ASSIGN_OR_RETURN(const size_t axis, AxisOf(query.node));
  ASSIGN_OR_RETURN(const RowAxis rows, OneRowAxis(query.inputs));
  if (rows == axis) return MixesRows(axis);
  for (const RowAxis& input : query.inputs)
    if (input != rows) return absl::UnimplementedError("not every input holds rows, expected all of them to");
  return rows;
}

// ---- scattering

enum class Reduction { kNone, kAdd, kMul, kMax, kMin };

absl::StatusOr<Reduction> ReductionOf(const Node& node) {
  ASSIGN_OR_RETURN(const std::string name, node.String("reduction", "none"));
  constexpr std::string_view kNames[] = {"none", "add", "mul", "max", "min"};
  const auto found = std::ranges::find(kNames, name);
  if (found != std::end(kNames)) return static_cast<Reduction>(found - std::begin(kNames));
  return absl::InvalidArgumentError(
      absl::StrCat("reduction is '", name, "', expected none, add, mul, max or min"));
}

absl::Status CheckUpdates(Node& node) {
  RETURN_IF_ERROR(CheckInputCount(node, 3, 3));
  RETURN_IF_ERROR(CheckIndices(node, 1));
  RETURN_IF_ERROR(CheckInputType(node, 2, {node.inputs[0]->dtype}));
  ASSIGN_OR_RETURN(const Reduction reduction, ReductionOf(node));
  if (reduction != Reduction::kNone && node.inputs[0]->dtype == DType::kBool)
    return absl::UnimplementedError("reduces bool, expected numbers");
  return SetOutputLike(node, *node.inputs[0]->dims);
}

// Element `to` of the result meets element `from` of the updates.
void Update(Reduction reduction, Tensor& result, int64_t to, const TensorView& updates, int64_t from) {
  const auto bytes = static_cast<int64_t>(SizeOf(updates.dtype));
  if (reduction == Reduction::kNone) {
    std::memcpy(result.bytes().data() + to * bytes, updates.bytes + from * bytes, static_cast<size_t>(bytes));
    return;
  }
  VisitDType(updates.dtype, [&](auto zero) {
    using T = decltype(zero);
    if constexpr (!std::is_same_v<T, bool>) {
      // Unsigned, integers wrap.
      using Wide = std::conditional_t<std::is_floating_point_v<T>, T, uint64_t>;
      T& x = result.As<T>()[to];
      const T y = updates.As<T>()[from];
      if (reduction == Reduction::kAdd) x = static_cast<T>(static_cast<Wide>(x) + static_cast<Wide>(y));
      if (reduction == Reduction::kMul) x = static_cast<T>(static_cast<Wide>(x) * static_cast<Wide>(y));
      if (reduction == Reduction::kMax) x = std::max(x, y);
      if (reduction == Reduction::kMin) x = std::min(x, y);
    }
  });
}

absl::Status InferScatterElements(Node& node) {
  RETURN_IF_ERROR(CheckUpdates(node));
  RETURN_IF_ERROR(AxisOf(node).status());
  if (*node.inputs[1]->dims != *node.inputs[2]->dims || node.inputs[1]->rank() != node.inputs[0]->rank())
    return absl::InvalidArgumentError(absl::StrCat("indices have shape ", ShapeText(*node.inputs[1]->dims),
                                                   " and updates ", ShapeText(*node.inputs[2]->dims),
                                                   ", expected one shape of the data's rank"));
  return absl::OkStatus();
}

absl::Status ScatterElements(const Node& node, std::span<const TensorView> inputs,
                             std::span<Tensor> outputs) {
  ASSIGN_OR_RETURN(const size_t axis, AxisOf(node));
  ASSIGN_OR_RETURN(const Reduction reduction, ReductionOf(node));
  const TensorView &data = inputs[0], &indices = inputs[1];
  std::ranges::copy(std::span(data.bytes, outputs[0].bytes().size()), outputs[0].bytes().begin());
  for (int64_t i = 0; i < indices.count(); ++i) {
    const int64_t index = Resolve(IntegerAt(indices, i), data.shape[axis]);
    if (index < 0) continue;
    Update(reduction, outputs[0], PlaceOf(i, indices.shape, data.shape, axis, index), inputs[2], i);
  }
  return absl::OkStatus();
}

// ---- tuples of indices

absl::StatusOr<int64_t> TupleLength(const Node& node) {
  const SymbolicShape& indices = *node.inputs[1]->dims;
  const int64_t length = indices.empty() ? 0 : indices.back().constant().value_or(0);
  ASSIGN_OR_RETURN(const int64_t batch, node.Int("batch_dims", 0));
  const auto rank = static_cast<int64_t>(node.inputs[0]->rank());
  if (length < 1 || batch < 0 || length + batch > rank || batch >= static_cast<int64_t>(indices.size()))
    return absl::InvalidArgumentError(absl::StrCat("indices have shape ", ShapeText(indices), " behind ",
                                                   batch, " batch axes, expected tuples for data of rank ",
                                                   rank));
  return length;
}

absl::Status InferGatherND(Node& node) {
  RETURN_IF_ERROR(CheckInputCount(node, 2, 2));
  RETURN_IF_ERROR(CheckIndices(node, 1));
  ASSIGN_OR_RETURN(const int64_t length, TupleLength(node));
  ASSIGN_OR_RETURN(const int64_t batch, node.Int("batch_dims", 0));
  const SymbolicShape &data = *node.inputs[0]->dims, &indices = *node.inputs[1]->dims;
  if (!std::equal(data.begin(), data.begin() + batch, indices.begin()))
    return absl::InvalidArgumentError(absl::StrCat("data ", ShapeText(data), " and indices ",
                                                   ShapeText(indices),
                                                   " differ in their batch axes, expected them equal"));
  SymbolicShape dims(indices.begin(), indices.end() - 1);
  dims.insert(dims.end(), data.begin() + batch + length, data.end());
  return SetOutputLike(node, std::move(dims));
}

// The flat number of the slice that tuple `t` means, of slices of `axes` axes in front; -1 where out of
// range.
int64_t SliceOf(const TensorView& indices, int64_t t, std::span<const int64_t> axes) {
  int64_t slice = 0;
  for (size_t i = 0; i < axes.size(); ++i) {
    const int64_t index =
        Resolve(IntegerAt(indices, t * static_cast<int64_t>(axes.size()) + static_cast<int64_t>(i)), axes[i]);
    if (index < 0) return -1;
    slice = slice * axes[i] + index;
  }
  return slice;
}

absl::Status GatherND(const Node& node, std::span<const TensorView> inputs, std::span<Tensor> outputs) {
  ASSIGN_OR_RETURN(const int64_t batch, node.Int("batch_dims", 0));
  const TensorView &data = inputs[0], &indices = inputs[1];
  const auto length = static_cast<size_t>(indices.shape.back());
  const auto axes = data.shape.subspan(static_cast<size_t>(batch), length);
  const int64_t batches = CountOf(data.shape.first(static_cast<size_t>(batch)));
  const int64_t slice = CountOf(data.shape.subspan(static_cast<size_t>(batch) + length)) *
                        static_cast<int64_t>(SizeOf(data.dtype));
  const int64_t tuples = indices.count() / static_cast<int64_t>(length);
  for (int64_t t = 0; t < tuples; ++t) {
    std::byte* out = outputs[0].bytes().data() + t * slice;
    const int64_t picked = SliceOf(indices, t, axes);
    if (picked < 0)
      std::memset(out, kNothing, static_cast<size_t>(slice));
    else
      std::memcpy(out, data.bytes + (t / (tuples / batches) * CountOf(axes) + picked) * slice,
                  static_cast<size_t>(slice));
  }
  return absl::OkStatus();
}

absl::StatusOr<RowAxis> RowsOfGatherND(const RowQuery& query) {
  ASSIGN_OR_RETURN(const int64_t batch, query.node.Int("batch_dims", 0));
  const RowAxis data = query.inputs[0], picked = query.inputs[1];
  if (data && (!picked || *data != *picked || static_cast<int64_t>(*data) >= batch)) return MixesRows(*data);
  return picked;
}

absl::Status InferScatterND(Node& node) {
  RETURN_IF_ERROR(CheckUpdates(node));
  ASSIGN_OR_RETURN(const int64_t length, TupleLength(node));
  const SymbolicShape &data = *node.inputs[0]->dims, &indices = *node.inputs[1]->dims;
  SymbolicShape dims(indices.begin(), indices.end() - 1);
  dims.insert(dims.end(), data.begin() + length, data.end());
  if (*node.inputs[2]->dims != dims)
    return absl::InvalidArgumentError(absl::StrCat("updates have shape ", ShapeText(*node.inputs[2]->dims),
                                                   ", expected ", ShapeText(dims)));
  return absl::OkStatus();
}

absl::Status ScatterND(const Node& node, std::span<const TensorView> inputs, std::span<Tensor> outputs) {
  ASSIGN_OR_RETURN(const Reduction reduction, ReductionOf(node));
  const TensorView &data = inputs[0], &indices = inputs[1];
  const auto length = static_cast<size_t>(indices.shape.back());
  const auto axes = data.shape.first(length);
  const int64_t slice = CountOf(data.shape.subspan(length));
  std::ranges::copy(std::span(data.bytes, outputs[0].bytes().size()), outputs[0].bytes().begin());
  for (int64_t t = 0; t < indices.count() / static_cast<int64_t>(length); ++t) {
    const int64_t picked = SliceOf(indices, t, axes);
    for (int64_t i = 0; picked >= 0 && i < slice; ++i)
      Update(reduction, outputs[0], picked * slice + i, inputs[2], t * slice + i);
  }
  return absl::OkStatus();
}

}  // namespace

std::span<const OpDef> gather_elements_ops() {
  static const OpDef defs[] = {
      {.name = "GatherElements",
       .infer = InferGatherElements,
       .rows = RowsAlongOneAxis,
       .reference = GatherElements},
      {.name = "GatherND", .infer = InferGatherND, .rows = RowsOfGatherND, .reference = GatherND},
      {.name = "ScatterElements",
       .infer = InferScatterElements,
       .rows = RowsAlongOneAxis,
       .reference = ScatterElements},
      {.name = "ScatterND", .infer = InferScatterND, .rows = RowsMixed, .reference = ScatterND},
  };
  return defs;
}

}  // namespace hachi
