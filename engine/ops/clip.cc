// Clip (ONNX opset 13): bounds are inputs 1 and 2, either may be left out.
#include <algorithm>
#include <cmath>
#include <limits>

#include "absl/strings/str_cat.h"
#include "engine/base/status_macros.h"
#include "engine/ops/activation.h"
#include "engine/ops/infer.h"
#include "engine/ops/quantized.h"

namespace hachi {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

absl::StatusOr<float> ConstantBound(const Node& node, size_t i, float otherwise) {
  const Value* bound = node.input(i);
  if (bound == nullptr) return otherwise;
  if (!bound->is_constant())
    return absl::UnimplementedError(
        absl::StrCat("bound '", bound->name, "' is computed, expected a constant"));
  return RealAt(bound->constant->view(), 0, std::nullopt);
}

absl::StatusOr<PostOp> AsPostOp(const Node& node) {
  if (!IsReal(*node.inputs[0]))
    return absl::UnimplementedError("clips integers that stand for no real numbers, expected f32");
  ASSIGN_OR_RETURN(const float low, ConstantBound(node, 1, -kInfinity));
  ASSIGN_OR_RETURN(const float high, ConstantBound(node, 2, kInfinity));
  return PostOp{PostOp::Kind::kClip, low, high};
}

absl::Status Infer(Node& node) {
  RETURN_IF_ERROR(CheckInputCount(node, 1, 3));
  RETURN_IF_ERROR(CheckInputType(
      node, 0, {DType::kF32, DType::kU8, DType::kS8, DType::kU16, DType::kS16, DType::kS32, DType::kS64}));
  for (size_t i = 1; i < node.inputs.size(); ++i) {
    const Value* bound = node.inputs[i];
    if (bound == nullptr) continue;
    if (CountOf(*bound->dims) != Dim(1))
      return absl::InvalidArgumentError(absl::StrCat("bound '", bound->name, "' has shape ",
                                                     ShapeText(*bound->dims), ", expected a scalar"));
    RETURN_IF_ERROR(CheckInputType(node, i, {DType::kF32, node.inputs[0]->dtype}));
  }
  const bool real = IsReal(*node.inputs[0]);
  return SetOutput(node, real ? RealType(*node.outputs[0]) : node.inputs[0]->dtype, *node.inputs[0]->dims);
}

// Bound `i` of integers, `none` where it is left out or not a number.
int64_t IntegerBound(const Node& node, std::span<const TensorView> inputs, size_t i, int64_t none) {
  if (node.input(i) == nullptr) return none;
  if (inputs[i].dtype != DType::kF32) return IntegerAt(inputs[i], 0);
  const float bound = inputs[i].As<float>()[0];
  return std::isnan(bound) ? none : ConvertTo<int64_t>(bound);
}

absl::Status Reference(const Node& node, std::span<const TensorView> inputs, std::span<Tensor> outputs) {
  if (!IsReal(*node.inputs[0])) {
    const int64_t low = IntegerBound(node, inputs, 1, std::numeric_limits<int64_t>::min());
    const int64_t high = IntegerBound(node, inputs, 2, std::numeric_limits<int64_t>::max());
    VisitDType(outputs[0].dtype(), [&](auto zero) {
      for (int64_t i = 0; i < outputs[0].count(); ++i) {
        const int64_t y = std::min(std::max(IntegerAt(inputs[0], i), low), high);
        outputs[0].As<decltype(zero)>()[i] = static_cast<decltype(zero)>(y);
      }
    });
    return absl::OkStatus();
  }
  const auto has = [&](size_t i) { return node.input(i) != nullptr; };
  const float low = has(1) ? RealAt(inputs[1], 0, std::nullopt) : -kInfinity;
  const float high = has(2) ? RealAt(inputs[2], 0, std::nullopt) : kInfinity;
  for (int64_t i = 0; i < outputs[0].count(); ++i) {
    const float x = RealAt(inputs[0], i, node.inputs[0]->quant);
    const float y = x < low ? low : x;
    StoreReal(outputs[0], i, ApplyPostOps(node, inputs, i, y > high ? high : y), node.outputs[0]->quant);
  }
  return absl::OkStatus();
}

}  // namespace

std::span<const OpDef> clip_ops() {
  static const OpDef defs[] = {{.name = "Clip",
                                .infer = Infer,
                                .quantize = QuantRule::kRescale,
                                .rows = RowsOfElements,
                                .reference = Reference,
                                .offers = ActivationOffers(),
                                .layout_agnostic = true,
                                .as_post_op = AsPostOp}};
  return defs;
}

}  // namespace hachi
