// What keeps elements of its input, as many as there are: NonZero (ONNX opset 13) and Compress (opset 11).
#include <algorithm>
#include <cstring>
#include <vector>

#include "absl/strings/str_cat.h"
#include "engine/base/status_macros.h"
#include "engine/ops/infer.h"
#include "engine/ops/measured.h"
#include "engine/ops/op.h"

namespace hachi {
namespace {

// ---- NonZero

// Calls fn(flat index) for each element that is not zero, in order.
template <typename Fn>
void ForEachNonZero(const TensorView& x, const Fn& fn) {
  VisitDType(x.dtype, [&](auto zero) {
    for (int64_t i = 0; i < x.count(); ++i)
      if (x.As<decltype(zero)>()[i] != zero) fn(i);
  });
}

int64_t CountNonZero(std::span<const TensorView> inputs) {
  int64_t count = 0;
  ForEachNonZero(inputs[0], [&](int64_t) { ++count; });
  return count;
}

absl::Status InferNonZero(Node& node) {
  RETURN_IF_ERROR(CheckInputCount(node, 1, 1));
  const Value& x = *node.inputs[0];
  ASSIGN_OR_RETURN(const Dim count, MeasuredDim(node, CountOf(*x.dims), CountNonZero));
  RETURN_IF_ERROR(InferCount(node, 1, 1));
  node.outputs[0]->dtype = DType::kS64;
  node.outputs[0]->dims = SymbolicShape{Dim(static_cast<int64_t>(x.rank())), count};
  return absl::OkStatus();
}

absl::Status NonZero(const Node& node, std::span<const TensorView> inputs, std::span<Tensor> outputs) {
  const auto shape = inputs[0].shape;
  const int64_t room = outputs[0].shape()[1];
  const auto indices = outputs[0].As<int64_t>();
  int64_t count = 0;
  ForEachNonZero(inputs[0], [&](int64_t at) {
    for (size_t axis = shape.size(); axis-- > 0; at /= shape[axis])
      indices[static_cast<int64_t>(axis) * room + count] = at % shape[axis];
    ++count;
  });
  StoreCount(node, count, outputs);
  return absl::OkStatus();
}

std::optional<size_t> AxisOfNonZero(const Node& /*node*/, size_t output) {
  return output == 0 ? std::optional<size_t>(1) : std::nullopt;
}

// ---- Compress

// How many of the first `length` are true; those behind the condition's end are not.
int64_t CountTrue(const TensorView& condition, int64_t length) {
  const auto flags = condition.As<bool>();
  return std::count(flags.begin(), flags.begin() + std::min(length, condition.count()), true);
}

absl::Status InferCompress(Node& node) {
  RETURN_IF_ERROR(CheckInputCount(node, 2, 2));
  RETURN_IF_ERROR(CheckInputType(node, 1, {DType::kBool}));
  RETURN_IF_ERROR(CheckRank(node, 1, 1, 1));
  ASSIGN_OR_RETURN(const auto axis, OptionalAxis(node));
  const Value& x = *node.inputs[0];
  SymbolicShape dims = axis ? *x.dims : SymbolicShape{CountOf(*x.dims)};
  Dim& kept = dims[axis.value_or(0)];
  // Of a constant condition alone it shows how much is kept.
  if (const Value& condition = *node.inputs[1];
      !IsMeasured(node) && condition.is_constant() && kept.constant()) {
    kept = CountTrue(condition.constant->view(), *kept.constant());
  } else {
    ASSIGN_OR_RETURN(kept, MeasuredDim(node, kept, [&](std::span<const TensorView> inputs) {
                       return CountTrue(inputs[1], *kept.constant());
                     }));
  }
  RETURN_IF_ERROR(InferCount(node, 1, 1));
  node.outputs[0]->dtype = x.dtype;
  node.outputs[0]->dims = std::move(dims);
  return absl::OkStatus();
}

absl::Status Compress(const Node& node, std::span<const TensorView> inputs, std::span<Tensor> outputs) {
  ASSIGN_OR_RETURN(const auto axis, OptionalAxis(node));
  const TensorView& x = inputs[0];
  const int64_t outer = axis ? CountOf(x.shape.first(*axis)) : 1, length = axis ? x.shape[*axis] : x.count();
  const size_t slice = static_cast<size_t>(axis ? CountOf(x.shape.subspan(*axis + 1)) : 1) * SizeOf(x.dtype);
  const auto room = static_cast<size_t>(outputs[0].shape()[axis.value_or(0)]) * slice;
  const auto flags = inputs[1].As<bool>();
  const int64_t flagged = std::min(length, inputs[1].count());
  for (int64_t i = 0; i < outer; ++i) {
    const std::byte* from = x.bytes + static_cast<size_t>(i * length) * slice;
    std::byte* to = outputs[0].bytes().data() + static_cast<size_t>(i) * room;
    for (int64_t k = 0; k < flagged; ++k)
      if (flags[k]) {
        std::memcpy(to, from + static_cast<size_t>(k) * slice, slice);
        to += slice;
      }
  }
  StoreCount(node, CountTrue(inputs[1], length), outputs);
  return absl::OkStatus();
}

std::optional<size_t> AxisOfCompress(const Node& node, size_t output) {
  if (output != 0) return std::nullopt;
  const auto axis = OptionalAxis(node);
  return axis.ok() ? axis->value_or(0) : 0;
}

}  // namespace

std::span<const OpDef> non_zero_ops() {
  static const OpDef defs[] = {{.name = "Compress",
                                .infer = InferCompress,
                                .rows = RowsMixed,
                                .measured_axis = AxisOfCompress,
                                .reference = Compress},
                               {.name = "NonZero",
                                .infer = InferNonZero,
                                .rows = RowsMixed,
                                .measured_axis = AxisOfNonZero,
                                .reference = NonZero}};
  return defs;
}

}  // namespace hachi
