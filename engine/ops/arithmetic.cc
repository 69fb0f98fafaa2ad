// Arithmetic of real numbers and integers, element by element; operands broadcast as NumPy does. A member is
// a row of kArithmetic.
#include <algorithm>
#include <optional>

#include "absl/strings/str_cat.h"
#include "engine/base/status_macros.h"
#include "engine/kernels/combine.h"
#include "engine/ops/arithmetic_kernels.h"
#include "engine/ops/broadcast.h"
#include "engine/ops/family.h"
#include "engine/ops/infer.h"
#include "engine/ops/quantized.h"

namespace hachi {
namespace {

// Integers wrap at their type's width. More than two inputs are folded from the left.
struct Arithmetic {
  std::string_view name;
  std::optional<BinarySpec::Kind> library;
  CombineFloats floats;  // our kernel
  double (*real)(double, double);
  int64_t (*integer)(int64_t, int64_t) = nullptr;                   // null: it takes none
  std::optional<Dim> (*content)(const Dim&, const Dim&) = nullptr;  // of elements of shapes; null: unknown
  size_t most_inputs = 2;
  bool divides = false;  // no integers by 0, by definition
};

// Dimensions are not negative, so that rounding down is rounding towards zero.
std::optional<Dim> Quotient(const Dim& a, const Dim& b) {
  const auto divisor = b.constant();
  if (!divisor) return a.ExactQuotient(b);
  if (*divisor == 0) return std::nullopt;
  if (*divisor == -1) return Dim(0) - a;  // also where the quotient would not fit
  if (const auto number = a.constant()) return Dim(*number / *divisor);
  return *divisor > 0 ? std::optional(Dim::FloorDiv(a, *divisor)) : std::nullopt;
}

int64_t Wrapped(uint64_t x) { return static_cast<int64_t>(x); }

constexpr size_t kAnyNumber = static_cast<size_t>(-1);

constexpr Arithmetic kArithmetic[] = {
    {"Add", BinarySpec::Kind::kAdd, AddFloats, [](double a, double b) { return a + b; },
     [](int64_t a, int64_t b) { return Wrapped(static_cast<uint64_t>(a) + static_cast<uint64_t>(b)); },
     [](const Dim& a, const Dim& b) { return std::optional(a + b); }},
    {"Div", BinarySpec::Kind::kDiv, DivideFloats, [](double a, double b) { return a / b; },
     // Towards zero, and 0 for a divisor of 0. The one quotient that does not fit wraps, as the others do.
     [](int64_t a, int64_t b) {
       if (b == -1) return Wrapped(0 - static_cast<uint64_t>(a));
       return b == 0 ? 0 : a / b;
     },
     Quotient, 2, /*divides=*/true},
    {"Max", BinarySpec::Kind::kMax, TakeLarger, [](double a, double b) { return a < b ? b : a; },
     [](int64_t a, int64_t b) { return a < b ? b : a; }, nullptr, kAnyNumber},
    {"Min", BinarySpec::Kind::kMin, TakeSmaller, [](double a, double b) { return b < a ? b : a; },
     [](int64_t a, int64_t b) { return b < a ? b : a; }, nullptr, kAnyNumber},
    {"Mul", BinarySpec::Kind::kMul, MultiplyFloats, [](double a, double b) { return a * b; },
     [](int64_t a, int64_t b) { return Wrapped(static_cast<uint64_t>(a) * static_cast<uint64_t>(b)); },
     [](const Dim& a, const Dim& b) { return std::optional(a * b); }},
    {"PRelu", std::nullopt, ScaleNegatives, [](double a, double b) { return a < 0 ? a * b : a; }},
    {"Sub", BinarySpec::Kind::kSub, SubtractFloats, [](double a, double b) { return a - b; },
     [](int64_t a, int64_t b) { return Wrapped(static_cast<uint64_t>(a) - static_cast<uint64_t>(b)); },
     [](const Dim& a, const Dim& b) { return std::optional(a - b); }},
    {"Sum", BinarySpec::Kind::kAdd, AddFloats, [](double a, double b) { return a + b; }, nullptr, nullptr,
     kAnyNumber},
};

// Every input real (f32 or quantized), or every one of the same integer or f64 type.
absl::Status CheckTypes(const Arithmetic& arithmetic, const Node& node) {
  const DType dtype = node.inputs[0]->dtype;
  const bool real = IsReal(*node.inputs[0]) || arithmetic.integer == nullptr;
  for (size_t i = 0; i < node.inputs.size(); ++i) {
    if (node.inputs[i] == nullptr)
      return absl::InvalidArgumentError(absl::StrCat("input ", i, " is left out, expected a value"));
    RETURN_IF_ERROR(real ? CheckReal(node, i) : CheckInputType(node, i, {dtype}));
  }
  if (dtype == DType::kBool || dtype == DType::kF16 || dtype == DType::kBF16)
    return absl::UnimplementedError(
        absl::StrCat("inputs have type ", std::string(NameOf(dtype)), ", expected f32 or integers"));
  return absl::OkStatus();
}

absl::Status Infer(const Arithmetic& arithmetic, Node& node) {
  const size_t most = arithmetic.most_inputs;
  RETURN_IF_ERROR(most == kAnyNumber ? CheckInputCount(node, 1, node.inputs.size())
                                     : CheckInputCount(node, most, most));
  RETURN_IF_ERROR(CheckTypes(arithmetic, node));
  SymbolicShape dims;
  for (const Value* input : node.inputs) {
    ASSIGN_OR_RETURN(dims, BroadcastDims(dims, *input->dims));
  }
  const Value& first = *node.inputs[0];
  RETURN_IF_ERROR(SetOutput(node, IsReal(first) ? RealType(*node.outputs[0]) : first.dtype, std::move(dims)));
  node.outputs[0]->content.reset();
  // Real quotients are not rounded as integers' are: of real numbers none is followed.
  if (arithmetic.content != nullptr && !IsReal(first))
    node.outputs[0]->content = CombineContents(node, arithmetic.content);
  return absl::OkStatus();
}

// Element `i` of the result, element `at` of operand `k` being element(k, at).
template <typename T, typename Element>
T Fold(const Shape& shape, std::span<const TensorView> inputs, int64_t i, T (*function)(T, T),
       const Element& element) {
  T result = element(0, BroadcastIndex(i, shape, inputs[0].shape));
  for (size_t k = 1; k < inputs.size(); ++k)
    result = function(result, element(k, BroadcastIndex(i, shape, inputs[k].shape)));
  return result;
}

absl::Status CheckDivisors(const Node& node, std::span<const TensorView> inputs) {
  const TensorView& divisors = inputs[1];
  if (IsReal(*node.inputs[0]) || divisors.dtype == DType::kF64) return absl::OkStatus();
  for (int64_t i = 0; i < divisors.count(); ++i)
    if (IntegerAt(divisors, i) == 0)
      return absl::InvalidArgumentError("divides an integer by 0, expected another divisor");
  return absl::OkStatus();
}

// Post-ops are applied to real results.
absl::Status Reference(const Arithmetic& arithmetic, const Node& node, std::span<const TensorView> inputs,
                       std::span<Tensor> outputs) {
  Tensor& y = outputs[0];
  if (IsReal(*node.inputs[0])) {
    const auto element = [&](size_t k, int64_t at) {
      return static_cast<double>(RealAt(inputs[k], at, node.inputs[k]->quant));
    };
    for (int64_t i = 0; i < y.count(); ++i) {
      const double result = Fold(y.shape(), inputs, i, arithmetic.real, element);
      StoreReal(y, i, ApplyPostOps(node, inputs, i, static_cast<float>(result)), node.outputs[0]->quant);
    }
    return absl::OkStatus();
  }
  if (y.dtype() == DType::kF64) {
    const auto element = [&](size_t k, int64_t at) { return inputs[k].As<double>()[at]; };
    for (int64_t i = 0; i < y.count(); ++i)
      y.As<double>()[i] = Fold(y.shape(), inputs, i, arithmetic.real, element);
    return absl::OkStatus();
  }
  const auto element = [&](size_t k, int64_t at) { return IntegerAt(inputs[k], at); };
  VisitDType(y.dtype(), [&](auto zero) {
    using T = decltype(zero);
    for (int64_t i = 0; i < y.count(); ++i)
      y.As<T>()[i] = static_cast<T>(Fold(y.shape(), inputs, i, arithmetic.integer, element));
  });
  return absl::OkStatus();
}

OpDef DefOf(const Arithmetic& arithmetic) {
  return {.name = arithmetic.name,
          .infer = [&arithmetic](Node& node) { return Infer(arithmetic, node); },
          .quantize = QuantRule::kRescale,
          .rows = RowsOfElements,
          .check_values = arithmetic.divides ? CheckDivisors : nullptr,
          .reference =
              [&arithmetic](const Node& node, std::span<const TensorView> inputs, std::span<Tensor> outputs) {
                return Reference(arithmetic, node, inputs, outputs);
              },
          .offers = ArithmeticOffers(arithmetic.library, arithmetic.floats),
          .layout_agnostic = true,
          .fuses_post_ops = true};
}

}  // namespace

std::span<const OpDef> arithmetic_ops() {
  static const std::vector<OpDef> defs = OpsOf(kArithmetic, DefOf);
  return defs;
}

}  // namespace hachi
