// CumSum (ONNX opset 14): sums of what stands before each element along the axis of input 1.
#include <algorithm>
#include <array>
#include <type_traits>

#include "absl/strings/str_cat.h"
#include "engine/base/status_macros.h"
#include "engine/cpu/team.h"
#include "engine/ops/function_step.h"
#include "engine/ops/infer.h"
#include "engine/ops/op.h"
#include "engine/ops/take.h"

namespace hachi {
namespace {

absl::StatusOr<size_t> AxisOf(const Node& node) {
  ASSIGN_OR_RETURN(const AxisNumbers axis, KnownInts(node, 1, "axis"));
  if (axis.size() != 1) return absl::InvalidArgumentError(absl::StrCat(axis.size(), " axes, expected 1"));
  return CheckAxis(axis[0], node.inputs[0]->rank());
}

absl::Status Infer(Node& node) {
  RETURN_IF_ERROR(CheckInputCount(node, 2, 2));
  RETURN_IF_ERROR(CheckInputType(node, 0, {DType::kF32, DType::kS32, DType::kS64, DType::kU32, DType::kU64}));
  RETURN_IF_ERROR(AxisOf(node).status());
  return SetOutput(node, node.inputs[0]->dtype, *node.inputs[0]->dims);
}

// Integers wrap.
template <typename T>
using SumOf = std::conditional_t<std::is_floating_point_v<T>, double, uint64_t>;

absl::Status Reference(const Node& node, std::span<const TensorView> inputs, std::span<Tensor> outputs) {
  ASSIGN_OR_RETURN(const size_t axis, AxisOf(node));
  ASSIGN_OR_RETURN(const int64_t exclusive, node.Int("exclusive", 0));
  ASSIGN_OR_RETURN(const int64_t reverse, node.Int("reverse", 0));
  const auto shape = inputs[0].shape;
  const int64_t length = shape[axis], inner = CountOf(shape.subspan(axis + 1)),
                lanes = CountOf(shape.first(axis)) * inner;
  VisitDType(inputs[0].dtype, [&](auto zero) {
    using T = decltype(zero);
    for (int64_t lane = 0; lane < lanes; ++lane) {
      const int64_t begin = lane / inner * length * inner + lane % inner;
      SumOf<T> sum = 0;
      for (int64_t k = 0; k < length; ++k) {
        const int64_t at = begin + (reverse != 0 ? length - 1 - k : k) * inner;
        const auto x = static_cast<SumOf<T>>(inputs[0].As<T>()[at]);
        outputs[0].As<T>()[at] = static_cast<T>(exclusive != 0 ? sum : sum + x);
        sum += x;
      }
    }
  });
  return absl::OkStatus();
}

// Lanes that lie side by side are summed together, so many at a time.
constexpr int64_t kLanes = 64;

// `lanes` neighbours, at most kLanes, each of `length` elements that lie `step` apart.
template <typename T>
void SumLanes(const T* in, T* out, int64_t lanes, int64_t length, int64_t step, bool exclusive) {
  std::array<SumOf<T>, kLanes> sums{};
  for (int64_t k = 0; k < length; ++k, in += step, out += step)
    for (int64_t i = 0; i < lanes; ++i) {
      const SumOf<T> before = sums[i];
      sums[i] += static_cast<SumOf<T>>(in[i]);
      out[i] = static_cast<T>(exclusive ? before : sums[i]);
    }
}

absl::StatusOr<StepMaker> Take(const LowerContext& context) {
  for (const Value* value : {context.node.inputs[0], context.node.outputs[0]})
    RETURN_IF_ERROR(CheckRowMajor(context, value));
  ASSIGN_OR_RETURN(const size_t axis, AxisOf(context.node));
  ASSIGN_OR_RETURN(const int64_t exclusive, context.node.Int("exclusive", 0));
  ASSIGN_OR_RETURN(const int64_t reverse, context.node.Int("reverse", 0));
  const TensorSpec src = context.Input(0);
  const int64_t length = src.shape[axis], inner = CountOf(std::span(src.shape).subspan(axis + 1)),
                outer = CountOf(std::span(src.shape).first(axis));
  const int64_t blocks = (inner + kLanes - 1) / kLanes;
  return MakeStep([=, dtype = src.dtype](const StepBuffers& buffers) {
    VisitDType(dtype, [&](auto zero) {
      using T = decltype(zero);
      if constexpr (!std::is_same_v<T, bool>) {
        ParallelFor(outer * blocks, 1, [&](int64_t begin, int64_t end) {
          for (int64_t i = begin; i < end; ++i) {
            const int64_t lane = i % blocks * kLanes;
            const int64_t first =
                i / blocks * length * inner + lane + (reverse != 0 ? (length - 1) * inner : 0);
            SumLanes(reinterpret_cast<const T*>(buffers.inputs[0]) + first,
                     reinterpret_cast<T*>(buffers.outputs[0]) + first, std::min(inner - lane, kLanes), length,
                     reverse != 0 ? -inner : inner, exclusive != 0);
          }
        });
      }
    });
  });
}

absl::StatusOr<RowAxis> Rows(const RowQuery& query) {
  RETURN_IF_ERROR(OnlyFirstHoldsRows(query));
  ASSIGN_OR_RETURN(const size_t axis, AxisOf(query.node));
  if (query.inputs[0] == axis) return MixesRows(axis);
  return query.inputs[0];
}

}  // namespace

std::span<const OpDef> cum_sum_ops() {
  static const OpDef defs[] = {{.name = "CumSum",
                                .infer = Infer,
                                .rows = Rows,
                                .reference = Reference,
                                .offers = {{.name = "hachi_cum_sum", .take = Take}}}};
  return defs;
}

}  // namespace hachi
