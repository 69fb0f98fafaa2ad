// What picks or replaces single elements or slices by indices: GatherElements, GatherND, ScatterElements and
// ScatterND (ONNX opsets 13 to 18). An index out of range picks NaN (integers: all bits set) and writes
// nothing.
#include <algorithm>
#include <cstring>
#include <type_traits>
#include <vector>

#include "absl/strings/str_cat.h"
#include "engine/base/status_macros.h"
#include "engine/cpu/team.h"
#include "engine/ops/function_step.h"
#include "engine/ops/index_range.h"
#include "engine/ops/infer.h"
#include "engine/ops/op.h"
#include "engine/ops/quantized.h"
#include "engine/ops/take.h"
#include "engine/tensor/visit_bits.h"

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

constexpr int64_t kGrain = 1 << 14;  // elements worth waking the team for: some µs

// Where one index an element leads, a run along the indices' last axis at a time.
struct AxisPlaces {
  Shape indices, data;
  size_t axis;

  int64_t runs() const { return CountOf(std::span(indices).first(indices.size() - 1)); }

  // fn(element of the indices, its place in the data or -1) for each of these runs.
  template <typename Fn>
  void Visit(const Indices& picked, int64_t begin, int64_t end, const Fn& fn) const {
    const int64_t width = indices.back(), stride = CountOf(std::span(data).subspan(axis + 1));
    const int64_t along = axis + 1 == indices.size() ? 0 : 1;  // what one element along the run adds
    for (int64_t i = begin * width; i < end * width; i += width) {
      const int64_t base = PlaceOf(i, indices, data, axis, 0);
      for (int64_t j = 0; j < width; ++j) {
        const int64_t index = Resolve(picked[i + j], data[axis]);
        fn(i + j, index < 0 ? -1 : base + j * along + index * stride);
      }
    }
  }
};

absl::Status CheckAllRowMajor(const LowerContext& context) {
  for (const Value* value : context.node.inputs) RETURN_IF_ERROR(CheckRowMajor(context, value));
  return CheckRowMajor(context, context.node.outputs[0]);
}

absl::StatusOr<StepMaker> TakeGatherElements(const LowerContext& context) {
  RETURN_IF_ERROR(CheckAllRowMajor(context));
  ASSIGN_OR_RETURN(const size_t axis, AxisOf(context.node));
  const TensorSpec data = context.Input(0), indices = context.Input(1);
  return MakeStep([places = AxisPlaces{indices.shape, data.shape, axis}, index_type = indices.dtype,
                   dtype = data.dtype](const StepBuffers& buffers) {
    VisitBits(dtype, [&](auto zero) {
      const auto* in = reinterpret_cast<const decltype(zero)*>(buffers.inputs[0]);
      auto* out = reinterpret_cast<decltype(zero)*>(buffers.outputs[0]);
      ParallelFor(places.runs(), kGrain / (places.indices.back() + 1) + 1, [&](int64_t begin, int64_t end) {
        places.Visit(Indices(index_type, buffers.inputs[1]), begin, end, [&](int64_t i, int64_t place) {
          out[i] = place < 0 ? static_cast<decltype(zero)>(-1) : in[place];
        });
      });
    });
  });
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

// What `x` becomes where it meets the update `y`. Integers wrap.
template <typename T>
T Reduced(Reduction reduction, T x, T y) {
  using Wide = std::conditional_t<std::is_floating_point_v<T>, T, uint64_t>;
  switch (reduction) {
    case Reduction::kAdd:
      return static_cast<T>(static_cast<Wide>(x) + static_cast<Wide>(y));
    case Reduction::kMul:
      return static_cast<T>(static_cast<Wide>(x) * static_cast<Wide>(y));
    case Reduction::kMax:
      return std::max(x, y);
    case Reduction::kMin:
      return std::min(x, y);
    case Reduction::kNone:
      return y;
  }
  return y;
}

// Calls `fn` with a zero of the type that elements are updated in: what is only replaced is so many bits.
template <typename Fn>
void VisitUpdates(Reduction reduction, DType dtype, Fn&& fn) {
  if (reduction == Reduction::kNone) return VisitBits(dtype, fn);
  VisitDType(dtype, [&](auto zero) {
    if constexpr (!std::is_same_v<decltype(zero), bool>) fn(zero);
  });
}

// Element `to` of the result meets element `from` of the updates.
void Update(Reduction reduction, Tensor& result, int64_t to, const TensorView& updates, int64_t from) {
  VisitUpdates(reduction, updates.dtype, [&](auto zero) {
    using T = decltype(zero);
    T& x = reinterpret_cast<T*>(result.bytes().data())[to];
    x = Reduced(reduction, x, reinterpret_cast<const T*>(updates.bytes)[from]);
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

// Updates that meet in one element do so in order.
absl::StatusOr<StepMaker> TakeScatterElements(const LowerContext& context) {
  RETURN_IF_ERROR(CheckAllRowMajor(context));
  ASSIGN_OR_RETURN(const size_t axis, AxisOf(context.node));
  ASSIGN_OR_RETURN(const Reduction reduction, ReductionOf(context.node));
  const TensorSpec data = context.Input(0), indices = context.Input(1);
  return MakeStep([places = AxisPlaces{indices.shape, data.shape, axis}, reduction,
                   index_type = indices.dtype, dtype = data.dtype,
                   bytes = data.bytes()](const StepBuffers& buffers) {
    std::copy_n(buffers.inputs[0], bytes, buffers.outputs[0]);
    VisitUpdates(reduction, dtype, [&](auto zero) {
      const auto* updates = reinterpret_cast<const decltype(zero)*>(buffers.inputs[2]);
      auto* out = reinterpret_cast<decltype(zero)*>(buffers.outputs[0]);
      places.Visit(Indices(index_type, buffers.inputs[1]), 0, places.runs(), [&](int64_t i, int64_t place) {
        if (place >= 0) out[place] = Reduced(reduction, out[place], updates[i]);
      });
    });
  });
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

// Where tuples of indices lead: to slices of `slice` elements.
struct TuplePlaces {
  Shape axes;            // of the data, which the tuples count along
  int64_t tuples;        // in all
  int64_t batch_tuples;  // those that share a batch
  int64_t slice;

  TuplePlaces(const TensorSpec& data, const TensorSpec& indices, int64_t batch) {
    const auto first = static_cast<size_t>(batch), length = static_cast<size_t>(indices.shape.back());
    const auto shape = std::span(data.shape);
    const auto counted = shape.subspan(first, length);
    axes.assign(counted.begin(), counted.end());
    tuples = CountOf(std::span(indices.shape).first(indices.shape.size() - 1));
    batch_tuples = std::max<int64_t>(tuples / std::max<int64_t>(CountOf(shape.first(first)), 1), 1);
    slice = CountOf(shape.subspan(first + length));
  }

  // The first element of tuple `t`'s slice; -1 where out of range.
  int64_t Place(const Indices& picked, int64_t t) const {
    const auto length = static_cast<int64_t>(axes.size());
    int64_t at = t / batch_tuples;
    for (int64_t i = 0; i < length; ++i) {
      const int64_t index = Resolve(picked[t * length + i], axes[static_cast<size_t>(i)]);
      if (index < 0) return -1;
      at = at * axes[static_cast<size_t>(i)] + index;
    }
    return at * slice;
  }
};

absl::StatusOr<StepMaker> TakeGatherND(const LowerContext& context) {
  RETURN_IF_ERROR(CheckAllRowMajor(context));
  ASSIGN_OR_RETURN(const int64_t batch, context.node.Int("batch_dims", 0));
  const TensorSpec data = context.Input(0), indices = context.Input(1);
  return MakeStep([places = TuplePlaces(data, indices, batch), index_type = indices.dtype,
                   bytes = static_cast<int64_t>(SizeOf(data.dtype))](const StepBuffers& buffers) {
    const auto size = static_cast<size_t>(places.slice * bytes);
    ParallelFor(places.tuples, kGrain / (places.slice + 1) + 1, [&](int64_t begin, int64_t end) {
      for (int64_t t = begin; t < end; ++t) {
        const int64_t place = places.Place(Indices(index_type, buffers.inputs[1]), t);
        std::byte* out = buffers.outputs[0] + t * places.slice * bytes;
        if (place < 0)
          std::memset(out, kNothing, size);
        else
          std::memcpy(out, buffers.inputs[0] + place * bytes, size);
      }
    });
  });
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

// Slices that meet do so in order.
absl::StatusOr<StepMaker> TakeScatterND(const LowerContext& context) {
  RETURN_IF_ERROR(CheckAllRowMajor(context));
  ASSIGN_OR_RETURN(const Reduction reduction, ReductionOf(context.node));
  const TensorSpec data = context.Input(0), indices = context.Input(1);
  return MakeStep([places = TuplePlaces(data, indices, 0), reduction, index_type = indices.dtype,
                   dtype = data.dtype, bytes = data.bytes()](const StepBuffers& buffers) {
    std::copy_n(buffers.inputs[0], bytes, buffers.outputs[0]);
    VisitUpdates(reduction, dtype, [&](auto zero) {
      const auto* updates = reinterpret_cast<const decltype(zero)*>(buffers.inputs[2]);
      for (int64_t t = 0; t < places.tuples; ++t, updates += places.slice) {
        const int64_t place = places.Place(Indices(index_type, buffers.inputs[1]), t);
        if (place < 0) continue;
        auto* out = reinterpret_cast<decltype(zero)*>(buffers.outputs[0]) + place;
        for (int64_t i = 0; i < places.slice; ++i) out[i] = Reduced(reduction, out[i], updates[i]);
      }
    });
  });
}

}  // namespace

std::span<const OpDef> gather_elements_ops() {
  static const OpDef defs[] = {
      {.name = "GatherElements",
       .infer = InferGatherElements,
       .rows = RowsAlongOneAxis,
       .reference = GatherElements,
       .offers = {{.name = "hachi_gather_elements", .take = TakeGatherElements}}},
      {.name = "GatherND",
       .infer = InferGatherND,
       .rows = RowsOfGatherND,
       .reference = GatherND,
       .offers = {{.name = "hachi_gather_nd", .take = TakeGatherND}}},
      {.name = "ScatterElements",
       .infer = InferScatterElements,
       .rows = RowsAlongOneAxis,
       .reference = ScatterElements,
       .offers = {{.name = "hachi_scatter_elements", .take = TakeScatterElements}}},
      {.name = "ScatterND",
       .infer = InferScatterND,
       .rows = RowsMixed,
       .reference = ScatterND,
       .offers = {{.name = "hachi_scatter_nd", .take = TakeScatterND}}},
  };
  return defs;
}

}  // namespace hachi
