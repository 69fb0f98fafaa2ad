// Functions of one number that are no post-op, element by element. A member is a row of kFunctions.
#include "engine/ops/unary.h"

#include <algorithm>
#include <cmath>
#include <optional>

#include "engine/base/status_macros.h"
#include "engine/cpu/team.h"
#include "engine/ops/family.h"
#include "engine/ops/infer.h"
#include "engine/ops/quantized.h"
#include "engine/ops/table_step.h"
#include "engine/ops/take.h"

namespace hachi {
namespace {

struct Function {
  std::string_view name;
  double (*real)(double);                    // what it computes
  std::optional<UnaryFunction> kernel = {};  // none: `real` of one element after the other
  QuantRule quantize = QuantRule::kNone;
  int64_t (*integer)(int64_t) = nullptr;  // of s32 and s64, wrapping at their width; null: it takes none
};

double Softplus(double x) { return std::max(x, 0.0) + std::log1p(std::exp(-std::abs(x))); }

// What would blow up an integer's rounding, or jump at it, stays FP32.
constexpr Function kFunctions[] = {
    {"Abs", [](double x) { return std::abs(x); }, UnaryFunction::kAbs, QuantRule::kRescale,
     [](int64_t x) { return x < 0 ? static_cast<int64_t>(0 - static_cast<uint64_t>(x)) : x; }},
    {"Acos", [](double x) { return std::acos(x); }},
    {"Acosh", [](double x) { return std::acosh(x); }},
    {"Asin", [](double x) { return std::asin(x); }},
    {"Asinh", [](double x) { return std::asinh(x); }},
    {"Atan", [](double x) { return std::atan(x); }},
    {"Atanh", [](double x) { return std::atanh(x); }},
    {"Ceil", [](double x) { return std::ceil(x); }},
    {"Cos", [](double x) { return std::cos(x); }},
    {"Cosh", [](double x) { return std::cosh(x); }},
    {"Erf", [](double x) { return std::erf(x); }, UnaryFunction::kErf, QuantRule::kRescale},
    {"Exp", [](double x) { return std::exp(x); }, UnaryFunction::kExp},
    {"Floor", [](double x) { return std::floor(x); }},
    {"Log", [](double x) { return std::log(x); }, UnaryFunction::kLog},
    {"Mish", [](double x) { return x * std::tanh(Softplus(x)); }, std::nullopt, QuantRule::kRescale},
    {"Neg", [](double x) { return -x; }, UnaryFunction::kNeg, QuantRule::kRescale,
     [](int64_t x) { return static_cast<int64_t>(0 - static_cast<uint64_t>(x)); }},
    {"Reciprocal", [](double x) { return 1.0 / x; }, UnaryFunction::kReciprocal},
    {"Round", [](double x) { return std::nearbyint(x); }},  // half to even
    {"Sign", [](double x) { return x > 0   ? 1.0
                                   : x < 0 ? -1.0
                                           : x; }, std::nullopt, QuantRule::kNone,
     [](int64_t x) { return int64_t{x > 0} - int64_t{x < 0}; }},
    {"Sin", [](double x) { return std::sin(x); }},
    {"Sinh", [](double x) { return std::sinh(x); }},
    {"Softplus", Softplus, std::nullopt, QuantRule::kRescale},
    {"Softsign", [](double x) { return x / (1 + std::abs(x)); }, std::nullopt, QuantRule::kRescale},
    {"Sqrt", [](double x) { return std::sqrt(x); }, UnaryFunction::kSqrt},
    {"Tan", [](double x) { return std::tan(x); }},
};

absl::Status Infer(const Function& function, Node& node) {
  RETURN_IF_ERROR(CheckInputCount(node, 1, 1));
  const Value& x = *node.inputs[0];
  if (IsReal(x) || function.integer == nullptr) {
    RETURN_IF_ERROR(CheckReal(node, 0));
    return SetOutput(node, RealType(*node.outputs[0]), *x.dims);
  }
  RETURN_IF_ERROR(CheckInputType(node, 0, {DType::kF32, DType::kS32, DType::kS64}));
  return SetOutput(node, x.dtype, *x.dims);
}

absl::Status Reference(const Function& function, const Node& node, std::span<const TensorView> inputs,
                       std::span<Tensor> outputs) {
  Tensor& y = outputs[0];
  if (IsReal(*node.inputs[0])) {
    for (int64_t i = 0; i < y.count(); ++i) {
      const double x = function.real(static_cast<double>(RealAt(inputs[0], i, node.inputs[0]->quant)));
      StoreReal(y, i, ApplyPostOps(node, inputs, i, static_cast<float>(x)), node.outputs[0]->quant);
    }
    return absl::OkStatus();
  }
  VisitDType(y.dtype(), [&](auto zero) {
    for (int64_t i = 0; i < y.count(); ++i)
      y.As<decltype(zero)>()[i] = static_cast<decltype(zero)>(function.integer(IntegerAt(inputs[0], i)));
  });
  return absl::OkStatus();
}

class UnaryStep final : public KernelStep {
 public:
  UnaryStep(UnaryFunction function, size_t count) : function_(function), count_(count) {}

  bool Reads(size_t input) const override { return input == 0; }

 protected:
  absl::Status Run(const StepBuffers& buffers) const override {
    ApplyUnary(function_, {reinterpret_cast<const float*>(buffers.inputs[0]), count_},
               {reinterpret_cast<float*>(buffers.outputs[0]), count_});
    return absl::OkStatus();
  }

 private:
  const UnaryFunction function_;
  const size_t count_;
};

// For functions that have no kernel.
class ScalarStep final : public KernelStep {
 public:
  ScalarStep(double (*function)(double), int64_t count) : function_(function), count_(count) {}

 protected:
  absl::Status Run(const StepBuffers& buffers) const override {
    const auto* in = reinterpret_cast<const float*>(buffers.inputs[0]);
    auto* out = reinterpret_cast<float*>(buffers.outputs[0]);
    ParallelFor(count_, kGrain, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i)
        out[i] = static_cast<float>(function_(static_cast<double>(in[i])));
    });
    return absl::OkStatus();
  }

 private:
  static constexpr int64_t kGrain = 1024;  // elements worth waking the team for: some µs

  double (*const function_)(double);
  const int64_t count_;
};

absl::Status CheckPlainFloats(const LowerContext& context) {
  const TensorSpec src = context.Input(0), dst = context.Output();
  RETURN_IF_ERROR(CheckOneLayout(src, dst));
  RETURN_IF_ERROR(CheckNothingFused(context.node));
  if (src.dtype != DType::kF32 || dst.dtype != DType::kF32)
    return absl::UnimplementedError("types are not f32 in and out, expected those");
  return absl::OkStatus();
}

// u8 and s8 through a table of all 256 results, FP32 through our kernel.
std::vector<Offer> OffersOf(const Function& function) {
  const auto take_table = [&function](const LowerContext& context) -> absl::StatusOr<StepMaker> {
    RETURN_IF_ERROR(CheckNothingFused(context.node));
    return TakeTable(
        context, [&function](float x) { return static_cast<float>(function.real(static_cast<double>(x))); });
  };
  const auto take_kernel = [&function](const LowerContext& context) {
    return TakeUnary(*function.kernel, context);
  };
  const auto take_scalars = [&function](const LowerContext& context) -> absl::StatusOr<StepMaker> {
    RETURN_IF_ERROR(CheckPlainFloats(context));
    return [&function, count = context.Output().count()] {
      return std::make_unique<ScalarStep>(function.real, count);
    };
  };
  const Offer table{.name = "hachi_table", .take = take_table};
  if (function.kernel) return {table, {.name = "hachi_unary", .take = take_kernel}};
  return {table, {.name = "hachi_scalar", .take = take_scalars}};
}

OpDef DefOf(const Function& function) {
  return {.name = function.name,
          .infer = [&function](Node& node) { return Infer(function, node); },
          .quantize = function.quantize,
          .rows = RowsOfElements,
          .reference = [&function](
                           const Node& node, std::span<const TensorView> inputs,
                           std::span<Tensor> outputs) { return Reference(function, node, inputs, outputs); },
          .offers = OffersOf(function),
          .layout_agnostic = true};
}

}  // namespace

absl::StatusOr<StepMaker> TakeUnary(UnaryFunction function, const LowerContext& context) {
  RETURN_IF_ERROR(CheckPlainFloats(context));
  return [function, count = static_cast<size_t>(context.Output().count())] {
    return std::make_unique<UnaryStep>(function, count);
  };
}

std::span<const OpDef> unary_ops() {
  static const std::vector<OpDef> defs = OpsOf(kFunctions, DefOf);
  return defs;
}

}  // namespace hachi
