// ArgMax, ArgMin, TopK and Hardmax (ONNX opsets 11 to 13): places of the largest or smallest along one axis.
// A NaN is the largest, as NumPy has it.
#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

#include "absl/strings/str_cat.h"
#include "engine/base/status_macros.h"
#include "engine/cpu/team.h"
#include "engine/ops/infer.h"
#include "engine/ops/op.h"
#include "engine/ops/take.h"

namespace hachi {
namespace {

constexpr std::initializer_list<DType> kNumbers = {DType::kF32, DType::kF64, DType::kU8,  DType::kS8,
                                                   DType::kU16, DType::kS16, DType::kU32, DType::kS32,
                                                   DType::kU64, DType::kS64};

absl::StatusOr<size_t> AxisOf(const Node& node, int64_t otherwise) {
  ASSIGN_OR_RETURN(const int64_t axis, node.Int("axis", otherwise));
  return CheckAxis(axis, node.inputs[0]->rank());
}

// The lanes along an axis: element `k` of lane `i` is at Begin(i) + k * inner.
struct Lanes {
  int64_t count, length, inner;

  Lanes(std::span<const int64_t> shape, size_t axis)
      : count(CountOf(shape.first(axis)) * CountOf(shape.subspan(axis + 1))),
        length(shape[axis]),
        inner(CountOf(shape.subspan(axis + 1))) {}

  int64_t Begin(int64_t lane, int64_t lane_length) const {
    return lane / inner * lane_length * inner + lane % inner;
  }
  int64_t Begin(int64_t lane) const { return Begin(lane, length); }
};

// Whether `a` comes before `b` among the largest (or smallest) first.
template <typename T>
bool Before(T a, T b, bool largest) {
  if constexpr (std::is_floating_point_v<T>) {
    if (std::isnan(a) || std::isnan(b))
      return largest ? std::isnan(a) && !std::isnan(b) : std::isnan(b) && !std::isnan(a);
  }
  return largest ? a > b : a < b;
}

// ---- ArgMax, ArgMin

absl::Status InferArg(Node& node) {
  RETURN_IF_ERROR(CheckInputCount(node, 1, 1));
  RETURN_IF_ERROR(CheckInputType(node, 0, kNumbers));
  ASSIGN_OR_RETURN(const size_t axis, AxisOf(node, 0));
  ASSIGN_OR_RETURN(const int64_t keep, node.Int("keepdims", 1));
  SymbolicShape dims = *node.inputs[0]->dims;
  if (dims[axis] == Dim(0)) return absl::InvalidArgumentError("the axis is empty, expected elements");
  if (keep != 0)
    dims[axis] = Dim(1);
  else
    dims.erase(dims.begin() + static_cast<std::ptrdiff_t>(axis));
  return SetOutput(node, DType::kS64, std::move(dims));
}

template <typename T>
int64_t FindFirst(const T* lane, int64_t length, int64_t step, bool largest, bool last) {
  int64_t found = 0;
  for (int64_t k = 1; k < length; ++k)
    if (Before(lane[k * step], lane[found * step], largest) ||
        (last && !Before(lane[found * step], lane[k * step], largest)))
      found = k;
  return found;
}

absl::Status ReferenceArg(const Node& node, std::span<const TensorView> inputs, std::span<Tensor> outputs,
                          bool largest) {
  ASSIGN_OR_RETURN(const size_t axis, AxisOf(node, 0));
  ASSIGN_OR_RETURN(const int64_t last, node.Int("select_last_index", 0));
  const Lanes lanes(inputs[0].shape, axis);
  VisitDType(inputs[0].dtype, [&](auto zero) {
    const auto* x = inputs[0].As<decltype(zero)>().data();
    for (int64_t lane = 0; lane < lanes.count; ++lane)
      outputs[0].As<int64_t>()[lane] =
          FindFirst(x + lanes.Begin(lane), lanes.length, lanes.inner, largest, last != 0);
  });
  return absl::OkStatus();
}

class ArgStep final : public KernelStep {
 public:
  ArgStep(const Lanes& lanes, DType dtype, bool largest, bool last)
      : lanes_(lanes), dtype_(dtype), largest_(largest), last_(last) {}

 protected:
  absl::Status Run(const StepBuffers& buffers) const override {
    auto* out = reinterpret_cast<int64_t*>(buffers.outputs[0]);
    VisitDType(dtype_, [&](auto zero) {
      const auto* in = reinterpret_cast<const decltype(zero)*>(buffers.inputs[0]);
      ParallelFor(lanes_.count, kGrain / lanes_.length + 1, [&](int64_t begin, int64_t end) {
        for (int64_t lane = begin; lane < end; ++lane)
          out[lane] = FindFirst(in + lanes_.Begin(lane), lanes_.length, lanes_.inner, largest_, last_);
      });
    });
    return absl::OkStatus();
  }

 private:
  static constexpr int64_t kGrain = 16384;  // elements worth waking the team for: some µs

  const Lanes lanes_;
  const DType dtype_;
  const bool largest_, last_;
};

absl::StatusOr<StepMaker> TakeArg(const LowerContext& context, bool largest) {
  RETURN_IF_ERROR(CheckRowMajor(context, context.node.inputs[0]));
  RETURN_IF_ERROR(CheckRowMajor(context, context.node.outputs[0]));
  ASSIGN_OR_RETURN(const size_t axis, AxisOf(context.node, 0));
  ASSIGN_OR_RETURN(const int64_t last, context.node.Int("select_last_index", 0));
  const TensorSpec src = context.Input(0);
  return [lanes = Lanes(src.shape, axis), dtype = src.dtype, largest, last] {
    return std::make_unique<ArgStep>(lanes, dtype, largest, last != 0);
  };
}

absl::StatusOr<RowAxis> RowsOfArg(const RowQuery& query) {
  ASSIGN_OR_RETURN(const size_t axis, AxisOf(query.node, 0));
  ASSIGN_OR_RETURN(const int64_t keep, query.node.Int("keepdims", 1));
  const RowAxis rows = query.inputs[0];
  if (rows == axis) return MixesRows(axis);
  return rows && keep == 0 && *rows > axis ? RowAxis(*rows - 1) : rows;
}

OpDef Arg(std::string_view name, bool largest) {
  return {
      .name = name,
      .infer = InferArg,
      .rows = RowsOfArg,
      .reference = [=](const Node& node, std::span<const TensorView> inputs,
                       std::span<Tensor> outputs) { return ReferenceArg(node, inputs, outputs, largest); },
      .offers = {{.name = "hachi_arg",
                  .take = [=](const LowerContext& context) { return TakeArg(context, largest); }}}};
}

// ---- TopK

absl::StatusOr<Dim> KOf(const Node& node) {
  const auto content = ContentOf(*node.inputs[1]);
  if (!content || content->size() != 1)
    return absl::UnimplementedError(
        absl::StrCat("k ('", node.inputs[1]->name, "') is computed, expected one that is known"));
  return (*content)[0];
}

absl::Status InferTopK(Node& node) {
  RETURN_IF_ERROR(CheckInputCount(node, 2, 2));
  RETURN_IF_ERROR(CheckInputType(node, 0, kNumbers));
  RETURN_IF_ERROR(CheckInputType(node, 1, {DType::kS64}));
  ASSIGN_OR_RETURN(const size_t axis, AxisOf(node, -1));
  ASSIGN_OR_RETURN(const Dim k, KOf(node));
  SymbolicShape dims = *node.inputs[0]->dims;
  const auto number = k.constant(), size = dims[axis].constant();
  if (number && (*number < 0 || (size && *number > *size)))
    return absl::InvalidArgumentError(absl::StrCat("k is ", *number, ", expected 0 to ", dims[axis].ToText(),
                                                   ", the elements of axis ", axis));
  dims[axis] = k;
  if (node.outputs.empty() || node.outputs.size() > 2)
    return absl::InvalidArgumentError(absl::StrCat(node.outputs.size(), " outputs, expected 2"));
  for (size_t i = 0; i < node.outputs.size(); ++i) {
    node.outputs[i]->dtype = i == 0 ? node.inputs[0]->dtype : DType::kS64;
    node.outputs[i]->dims = dims;
  }
  return absl::OkStatus();
}

// Writes the first `k` of a lane in order; of equal ones the first. `order` has room for the lane.
template <typename T>
void SelectTop(const T* lane, int64_t length, int64_t step, int64_t k, bool largest, std::span<int64_t> order,
               T* values, int64_t* indices) {
  std::iota(order.begin(), order.end(), 0);
  const auto before = [&](int64_t a, int64_t b) {
    if (Before(lane[a * step], lane[b * step], largest)) return true;
    return !Before(lane[b * step], lane[a * step], largest) && a < b;
  };
  std::partial_sort(order.begin(), order.begin() + std::min(k, length), order.end(), before);
  for (int64_t i = 0; i < k; ++i) {
    values[i * step] = lane[order[static_cast<size_t>(i)] * step];
    if (indices != nullptr) indices[i * step] = order[static_cast<size_t>(i)];
  }
}

absl::Status ReferenceTopK(const Node& node, std::span<const TensorView> inputs, std::span<Tensor> outputs) {
  ASSIGN_OR_RETURN(const size_t axis, AxisOf(node, -1));
  ASSIGN_OR_RETURN(const int64_t largest, node.Int("largest", 1));
  const Lanes lanes(inputs[0].shape, axis);
  const int64_t k = outputs[0].shape()[axis];
  if (k > lanes.length)
    return absl::InvalidArgumentError(absl::StrCat("k is ", k, ", expected at most ", lanes.length));
  std::vector<int64_t> order(static_cast<size_t>(lanes.length));
  VisitDType(inputs[0].dtype, [&](auto zero) {
    using T = decltype(zero);
    for (int64_t lane = 0; lane < lanes.count; ++lane) {
      const int64_t to = lanes.Begin(lane, k);
      SelectTop(inputs[0].As<T>().data() + lanes.Begin(lane), lanes.length, lanes.inner, k, largest != 0,
                order, outputs[0].As<T>().data() + to,
                outputs.size() > 1 ? outputs[1].As<int64_t>().data() + to : nullptr);
    }
  });
  return absl::OkStatus();
}

class TopKStep final : public KernelStep {
 public:
  TopKStep(const Lanes& lanes, int64_t k, DType dtype, bool largest)
      : KernelStep({.scratch_bytes = static_cast<size_t>(lanes.length) * sizeof(int64_t)}),
        lanes_(lanes),
        k_(k),
        dtype_(dtype),
        largest_(largest) {}

 protected:
  absl::Status Run(const StepBuffers& buffers) const override {
    const std::span order(reinterpret_cast<int64_t*>(buffers.scratch), static_cast<size_t>(lanes_.length));
    auto* indices = buffers.outputs.size() > 1 ? reinterpret_cast<int64_t*>(buffers.outputs[1]) : nullptr;
    VisitDType(dtype_, [&](auto zero) {
      using T = decltype(zero);
      for (int64_t lane = 0; lane < lanes_.count; ++lane) {
        const int64_t to = lanes_.Begin(lane, k_);
        SelectTop(reinterpret_cast<const T*>(buffers.inputs[0]) + lanes_.Begin(lane), lanes_.length,
                  lanes_.inner, k_, largest_, order, reinterpret_cast<T*>(buffers.outputs[0]) + to,
                  indices == nullptr ? nullptr : indices + to);
      }
    });
    return absl::OkStatus();
  }

 private:
  const Lanes lanes_;
  const int64_t k_;
  const DType dtype_;
  const bool largest_;
};

absl::StatusOr<StepMaker> TakeTopK(const LowerContext& context) {
  const Node& node = context.node;
  for (const Value* value : {node.inputs[0], node.outputs[0], node.outputs.back()})
    RETURN_IF_ERROR(CheckRowMajor(context, value));
  ASSIGN_OR_RETURN(const size_t axis, AxisOf(node, -1));
  ASSIGN_OR_RETURN(const int64_t largest, node.Int("largest", 1));
  const TensorSpec src = context.Input(0);
  const int64_t k = context.Output().shape[axis];
  if (k > src.shape[axis])
    return absl::UnimplementedError(absl::StrCat("k is ", k, ", expected at most ", src.shape[axis]));
  return [lanes = Lanes(src.shape, axis), k, dtype = src.dtype, largest] {
    return std::make_unique<TopKStep>(lanes, k, dtype, largest != 0);
  };
}

absl::StatusOr<RowAxis> RowsOfTopK(const RowQuery& query) {
  RETURN_IF_ERROR(OnlyFirstHoldsRows(query));
  ASSIGN_OR_RETURN(const size_t axis, AxisOf(query.node, -1));
  if (query.inputs[0] == axis) return MixesRows(axis);
  return query.inputs[0];
}

// ---- Hardmax

struct Axes {
  size_t begin, end;
};

// As Softmax: one axis, or with our attribute `matrix` all from it on together.
absl::StatusOr<Axes> HardmaxAxes(const Node& node) {
  ASSIGN_OR_RETURN(const size_t begin, AxisOf(node, -1));
  ASSIGN_OR_RETURN(const int64_t matrix, node.Int("matrix", 0));
  return Axes{begin, matrix != 0 ? node.inputs[0]->rank() : begin + 1};
}

absl::Status InferHardmax(Node& node) {
  RETURN_IF_ERROR(CheckInputCount(node, 1, 1));
  RETURN_IF_ERROR(CheckInputType(node, 0, {DType::kF32}));
  RETURN_IF_ERROR(HardmaxAxes(node).status());
  return SetOutput(node, DType::kF32, *node.inputs[0]->dims);
}

absl::Status ReferenceHardmax(const Node& node, std::span<const TensorView> inputs,
                              std::span<Tensor> outputs) {
  ASSIGN_OR_RETURN(const Axes axes, HardmaxAxes(node));
  const auto shape = inputs[0].shape;
  const int64_t length = CountOf(shape.subspan(axes.begin, axes.end - axes.begin));
  const int64_t inner = CountOf(shape.subspan(axes.end)), outer = CountOf(shape.first(axes.begin));
  std::ranges::fill(outputs[0].As<float>(), 0.0f);
  if (length == 0) return absl::OkStatus();
  for (int64_t o = 0; o < outer; ++o)
    for (int64_t i = 0; i < inner; ++i) {
      const int64_t begin = o * length * inner + i;
      const int64_t found = FindFirst(inputs[0].As<float>().data() + begin, length, inner, true, false);
      outputs[0].As<float>()[begin + found * inner] = 1.0f;
    }
  return absl::OkStatus();
}

absl::StatusOr<RowAxis> RowsOfHardmax(const RowQuery& query) {
  ASSIGN_OR_RETURN(const Axes axes, HardmaxAxes(query.node));
  const RowAxis rows = query.inputs[0];
  if (rows && *rows >= axes.begin && *rows < axes.end) return MixesRows(*rows);
  return rows;
}

}  // namespace

std::span<const OpDef> arg_max_ops() {
  static const OpDef defs[] = {
      Arg("ArgMax", true),
      Arg("ArgMin", false),
      {.name = "Hardmax", .infer = InferHardmax, .rows = RowsOfHardmax, .reference = ReferenceHardmax},
      {.name = "TopK",
       .infer = InferTopK,
       .rows = RowsOfTopK,
       .reference = ReferenceTopK,
       .offers = {{.name = "hachi_top_k", .take = TakeTopK}}}};
  return defs;
}

}  // namespace hachi
