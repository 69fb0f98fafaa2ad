// Unique (ONNX opset 11): elements or slices without their repetitions.
#include <algorithm>
#include <cstring>
#include <numeric>
#include <vector>

#include "absl/strings/str_cat.h"
#include "engine/base/status_macros.h"
#include "engine/ops/infer.h"
#include "engine/ops/measured.h"
#include "engine/ops/op.h"

namespace hachi {
namespace {

// The slices of a tensor along an axis.
struct Slices {
  const TensorView& x;
  int64_t outer = 1, length, inner = 1;

  Slices(const TensorView& tensor, std::optional<size_t> axis) : x(tensor), length(tensor.count()) {
    if (!axis) return;
    outer = CountOf(x.shape.first(*axis));
    length = x.shape[*axis];
    inner = CountOf(x.shape.subspan(*axis + 1));
  }

  // -1, 0 or 1 as slice `a` comes before, equals or comes behind `b`; not-a-number comes last.
  int Compare(int64_t a, int64_t b) const {
    int order = 0;
    VisitDType(x.dtype, [&](auto zero) {
      using T = decltype(zero);
      const auto elements = x.As<T>();
      for (int64_t o = 0; o < outer && order == 0; ++o)
        for (int64_t i = 0; i < inner && order == 0; ++i) {
          const T first = elements[(o * length + a) * inner + i],
                  second = elements[(o * length + b) * inner + i];
          const bool first_is_number = first == first, second_is_number = second == second;
          if (first_is_number && second_is_number)
            order = first < second ? -1 : static_cast<int>(second < first);
          else
            order = static_cast<int>(second_is_number) - static_cast<int>(first_is_number);
        }
    });
    return order;
  }
};

// What is unique: the first slice of each kind, in the order of the output; the kind of every slice, and how
// many each has.
struct Kinds {
  std::vector<int64_t> first, of_slice, counts;
};

Kinds FindKinds(const Slices& slices, bool sorted) {
  std::vector<int64_t> order(static_cast<size_t>(slices.length));
  std::iota(order.begin(), order.end(), 0);
  std::ranges::stable_sort(order, [&](int64_t a, int64_t b) { return slices.Compare(a, b) < 0; });
  Kinds kinds{.first = {}, .of_slice = std::vector<int64_t>(order.size()), .counts = {}};
  for (size_t i = 0; i < order.size(); ++i) {
    if (i == 0 || slices.Compare(order[i - 1], order[i]) != 0) {
      kinds.first.push_back(order[i]);
      kinds.counts.push_back(0);
    }
    ++kinds.counts.back();
    kinds.of_slice[static_cast<size_t>(order[i])] = static_cast<int64_t>(kinds.first.size()) - 1;
  }
  if (sorted) return kinds;
  // In the order of their first appearance.
  std::vector<int64_t> by_first(kinds.first.size()), place(kinds.first.size());
  std::iota(by_first.begin(), by_first.end(), 0);
  std::ranges::sort(by_first, {}, [&](int64_t kind) { return kinds.first[static_cast<size_t>(kind)]; });
  Kinds ordered{.first = {}, .of_slice = {}, .counts = {}};
  for (size_t i = 0; i < by_first.size(); ++i) {
    const auto kind = static_cast<size_t>(by_first[i]);
    place[kind] = static_cast<int64_t>(i);
    ordered.first.push_back(kinds.first[kind]);
    ordered.counts.push_back(kinds.counts[kind]);
  }
  for (const int64_t kind : kinds.of_slice) ordered.of_slice.push_back(place[static_cast<size_t>(kind)]);
  return ordered;
}

absl::StatusOr<Kinds> KindsOf(const Node& node, const TensorView& x) {
  ASSIGN_OR_RETURN(const auto axis, OptionalAxis(node));
  ASSIGN_OR_RETURN(const int64_t sorted, node.Int("sorted", 1));
  return FindKinds(Slices(x, axis), sorted != 0);
}

absl::Status Infer(Node& node) {
  RETURN_IF_ERROR(CheckInputCount(node, 1, 1));
  ASSIGN_OR_RETURN(const auto axis, OptionalAxis(node));
  RETURN_IF_ERROR(node.Int("sorted", 1).status());
  const Value& x = *node.inputs[0];
  SymbolicShape dims = axis ? *x.dims : SymbolicShape{CountOf(*x.dims)};
  const Dim slices = dims[axis.value_or(0)];
  ASSIGN_OR_RETURN(const Dim count, MeasuredDim(node, slices, [&](std::span<const TensorView> inputs) {
                     return static_cast<int64_t>(KindsOf(node, inputs[0])->first.size());
                   }));
  RETURN_IF_ERROR(InferCount(node, 1, 4));
  dims[axis.value_or(0)] = count;
  const size_t outputs = node.outputs.size() - (IsMeasured(node) ? 1 : 0);
  for (size_t i = 0; i < outputs; ++i) {
    node.outputs[i]->dtype = i == 0 ? x.dtype : DType::kS64;
    node.outputs[i]->dims = i == 0 ? dims : SymbolicShape{i == 2 ? slices : count};
  }
  return absl::OkStatus();
}

absl::Status Reference(const Node& node, std::span<const TensorView> inputs, std::span<Tensor> outputs) {
  const TensorView& x = inputs[0];
  ASSIGN_OR_RETURN(const auto axis, OptionalAxis(node));
  ASSIGN_OR_RETURN(const Kinds kinds, KindsOf(node, x));
  const Slices slices(x, axis);
  const size_t bytes = static_cast<size_t>(slices.inner) * SizeOf(x.dtype);
  const int64_t room = outputs[0].shape()[axis.value_or(0)];
  for (int64_t o = 0; o < slices.outer; ++o)
    for (size_t i = 0; i < kinds.first.size(); ++i)
      std::memcpy(outputs[0].bytes().data() + static_cast<size_t>(o * room + static_cast<int64_t>(i)) * bytes,
                  x.bytes + static_cast<size_t>(o * slices.length + kinds.first[i]) * bytes, bytes);
  const size_t ordinary = outputs.size() - (IsMeasured(node) ? 1 : 0);
  const std::vector<int64_t>* of_output[] = {nullptr, &kinds.first, &kinds.of_slice, &kinds.counts};
  for (size_t i = 1; i < ordinary; ++i) std::ranges::copy(*of_output[i], outputs[i].As<int64_t>().begin());
  StoreCount(node, static_cast<int64_t>(kinds.first.size()), outputs);
  return absl::OkStatus();
}

std::optional<size_t> MeasuredAxis(const Node& node, size_t output) {
  if (output == 2) return std::nullopt;
  const auto axis = OptionalAxis(node);
  return output == 0 && axis.ok() ? axis->value_or(0) : 0;
}

}  // namespace

std::span<const OpDef> unique_ops() {
  static const OpDef defs[] = {{.name = "Unique",
                                .infer = Infer,
                                .rows = RowsMixed,
                                .measured_axis = MeasuredAxis,
                                .reference = Reference}};
  return defs;
}

}  // namespace hachi
