// CumSum (ONNX opset 14): sums of what stands before each element along the axis of input 1.
#include "absl/strings/str_cat.h"
#include "engine/base/status_macros.h"
#include "engine/ops/infer.h"
#include "engine/ops/op.h"

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

absl::Status Reference(const Node& node, std::span<const TensorView> inputs, std::span<Tensor> outputs) {
  ASSIGN_OR_RETURN(const size_t axis, AxisOf(node));
  ASSIGN_OR_RETURN(const int64_t exclusive, node.Int("exclusive", 0));
  ASSIGN_OR_RETURN(const int64_t reverse, node.Int("reverse", 0));
  const auto shape = inputs[0].shape;
  const int64_t length = shape[axis], inner = CountOf(shape.subspan(axis + 1)),
                lanes = CountOf(shape.first(axis)) * inner;
  VisitDType(inputs[0].dtype, [&](auto zero) {
    using T = decltype(zero);
    // Integers wrap.
    using Wide = std::conditional_t<std::is_floating_point_v<T>, double, uint64_t>;
    for (int64_t lane = 0; lane < lanes; ++lane) {
      const int64_t begin = lane / inner * length * inner + lane % inner;
      Wide sum = 0;
      for (int64_t k = 0; k < length; ++k) {
        const int64_t at = begin + (reverse != 0 ? length - 1 - k : k) * inner;
        const auto x = static_cast<Wide>(inputs[0].As<T>()[at]);
        outputs[0].As<T>()[at] = static_cast<T>(exclusive != 0 ? sum : sum + x);
        sum += x;
      }
    }
  });
  return absl::OkStatus();
}

absl::StatusOr<RowAxis> Rows(const RowQuery& query) {
  RETURN_IF_ERROR(OnlyFirstHoldsRows(query));
  ASSIGN_OR_RETURN(const size_t axis, AxisOf(query.node));
  if (query.inputs[0] == axis) return MixesRows(axis);
  return query.inputs[0];
}

}  // namespace

std::span<const OpDef> cum_sum_ops() {
  static const OpDef defs[] = {{.name = "CumSum", .infer = Infer, .rows = Rows, .reference = Reference}};
  return defs;
}

}  // namespace hachi
