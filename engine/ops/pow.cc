// Pow (ONNX opset 15); the exponent may have another type.
#include <cmath>
#include <limits>

#include "absl/strings/str_cat.h"
#include "engine/base/status_macros.h"
#include "engine/ops/arithmetic_kernels.h"
#include "engine/ops/broadcast.h"
#include "engine/ops/infer.h"
#include "engine/ops/quantized.h"
#include "engine/ops/unary.h"

namespace hachi {
namespace {

absl::Status Infer(Node& node) {
  RETURN_IF_ERROR(CheckInputCount(node, 2, 2));
  RETURN_IF_ERROR(CheckInputType(node, 0, {DType::kF32, DType::kS32, DType::kS64}));
  RETURN_IF_ERROR(CheckInputType(node, 1, {DType::kF32, DType::kS32, DType::kS64, DType::kU32, DType::kU64}));
  ASSIGN_OR_RETURN(SymbolicShape dims, BroadcastDims(*node.inputs[0]->dims, *node.inputs[1]->dims));
  return SetOutput(node, node.inputs[0]->dtype, std::move(dims));
}

double NumberAt(const TensorView& view, int64_t i) {
  return view.dtype == DType::kF32 ? static_cast<double>(view.As<float>()[i])
                                   : static_cast<double>(IntegerAt(view, i));
}

// An integer's power is cut to an integer, and saturates.
absl::Status Reference(const Node& node, std::span<const TensorView> inputs, std::span<Tensor> outputs) {
  const Shape& shape = outputs[0].shape();
  for (int64_t i = 0; i < outputs[0].count(); ++i) {
    const double x = NumberAt(inputs[0], BroadcastIndex(i, shape, inputs[0].shape));
    const double power = std::pow(x, NumberAt(inputs[1], BroadcastIndex(i, shape, inputs[1].shape)));
    if (outputs[0].dtype() == DType::kF32) {
      StoreReal(outputs[0], i, ApplyPostOps(node, inputs, i, static_cast<float>(power)), std::nullopt);
      continue;
    }
    const auto store = [&]<typename T>(T /*zero*/) {
      constexpr auto kHighest = static_cast<double>(std::numeric_limits<T>::max());
      constexpr auto kLowest = static_cast<double>(std::numeric_limits<T>::lowest());
      outputs[0].As<T>()[i] = std::isnan(power)   ? T{0}
                              : power >= kHighest ? std::numeric_limits<T>::max()
                              : power <= kLowest  ? std::numeric_limits<T>::lowest()
                                                  : static_cast<T>(power);
    };
    outputs[0].dtype() == DType::kS32 ? store(int32_t{}) : store(int64_t{});
  }
  return absl::OkStatus();
}

// Powers that are written out.
std::optional<UnaryFunction> FunctionFor(float exponent) {
  if (exponent == 2.0f) return UnaryFunction::kSquare;
  if (exponent == 3.0f) return UnaryFunction::kCube;
  if (exponent == 0.5f) return UnaryFunction::kSqrt;
  if (exponent == -1.0f) return UnaryFunction::kReciprocal;
  return std::nullopt;
}

absl::StatusOr<StepMaker> TakeWrittenOut(const LowerContext& context) {
  const Value& exponent = *context.node.inputs[1];
  if (!exponent.is_constant() || exponent.constant->count() != 1 ||
      context.Input(0).shape != context.Output().shape)
    return absl::UnimplementedError("exponent is no constant number, expected one");
  const auto function = FunctionFor(RealAt(exponent.constant->view(), 0, std::nullopt));
  if (!function)
    return absl::UnimplementedError("exponent is another than 2, 3, 0.5 and -1, expected one of them");
  return TakeUnary(*function, context);
}

std::vector<Offer> Offers() {
  std::vector<Offer> offers = ArithmeticOffers(
      std::nullopt, CombineBy([](float x, float y) { return y == 2.0f ? x * x : std::pow(x, y); }));
  offers.insert(offers.begin(), {.name = "hachi_unary", .take = TakeWrittenOut});
  return offers;
}

}  // namespace

std::span<const OpDef> pow_ops() {
  static const OpDef defs[] = {{.name = "Pow",
                                .infer = Infer,
                                .rows = RowsOfElements,
                                .reference = Reference,
                                .offers = Offers(),
                                .layout_agnostic = true}};
  return defs;
}

}  // namespace hachi
