// BitShift, BitwiseAnd, BitwiseOr, BitwiseXor, BitwiseNot and Mod (ONNX opsets 11 to 18): integers element by
// element, operands broadcast as NumPy does. A member is a row of bitwise_ops().
#include <cmath>

#include "absl/strings/str_cat.h"
#include "engine/base/status_macros.h"
#include "engine/ops/broadcast.h"
#include "engine/ops/infer.h"
#include "engine/ops/op.h"

namespace hachi {
namespace {

// Which way bits go; taken in by operators without the attribute.
struct Options {
  bool left = false;
  bool truncates = false;  // Mod's sign is the dividend's, as C has it
};

absl::StatusOr<Options> OptionsOf(const Node& node) {
  ASSIGN_OR_RETURN(const std::string direction, node.String("direction", "LEFT"));
  ASSIGN_OR_RETURN(const int64_t fmod, node.Int("fmod", 0));
  if (direction != "LEFT" && direction != "RIGHT")
    return absl::InvalidArgumentError(absl::StrCat("direction is '", direction, "', expected LEFT or RIGHT"));
  return Options{direction == "LEFT", fmod != 0};
}

absl::Status Infer(Node& node, size_t arity, bool takes_reals) {
  RETURN_IF_ERROR(CheckInputCount(node, arity, arity));
  ASSIGN_OR_RETURN(const Options options, OptionsOf(node));
  if (!takes_reals || node.inputs[0]->dtype != DType::kF32)
    RETURN_IF_ERROR(CheckInputType(node, 0,
                                   {DType::kU8, DType::kU16, DType::kU32, DType::kU64, DType::kS8,
                                    DType::kS16, DType::kS32, DType::kS64}));
  if (takes_reals && node.inputs[0]->dtype == DType::kF32 && !options.truncates)
    return absl::InvalidArgumentError("takes the remainder of real numbers with fmod 0, expected 1");
  SymbolicShape dims = *node.inputs[0]->dims;
  if (arity == 2) {
    RETURN_IF_ERROR(CheckInputType(node, 1, {node.inputs[0]->dtype}));
    ASSIGN_OR_RETURN(dims, BroadcastDims(dims, *node.inputs[1]->dims));
  }
  return SetOutput(node, node.inputs[0]->dtype, std::move(dims));
}

template <typename Function>
absl::Status Reference(const Node& node, std::span<const TensorView> inputs, std::span<Tensor> outputs,
                       const Function& function) {
  ASSIGN_OR_RETURN(const Options options, OptionsOf(node));
  const TensorView &left = inputs.front(), &right = inputs.back();
  VisitDType(left.dtype, [&](auto zero) {
    using T = decltype(zero);
    if constexpr (!std::is_same_v<T, bool>) {
      for (int64_t i = 0; i < outputs[0].count(); ++i) {
        const T a = left.As<T>()[BroadcastIndex(i, outputs[0].shape(), left.shape)];
        const T b = right.As<T>()[BroadcastIndex(i, outputs[0].shape(), right.shape)];
        outputs[0].As<T>()[i] = static_cast<T>(function(a, b, options));
      }
    }
  });
  return absl::OkStatus();
}

// Functions are given numbers of one type; what is for integers alone sees real ones never.
template <typename Function>
OpDef Member(std::string_view name, Function function, size_t arity = 2, bool takes_reals = false) {
  return {.name = name,
          .infer = [=](Node& node) { return Infer(node, arity, takes_reals); },
          .rows = RowsOfElements,
          .reference = [=](const Node& node, std::span<const TensorView> inputs,
                           std::span<Tensor> outputs) { return Reference(node, inputs, outputs, function); },
          .layout_agnostic = true};
}

template <typename Function>
auto OfIntegers(Function function) {
  return [=]<typename T>(T a, T b, const Options& options) {
    if constexpr (std::is_integral_v<T>)
      return function(a, b, options);
    else
      return T{};
  };
}

// By 0 the remainder is 0, as NumPy has it.
struct Remainder {
  template <typename T>
  T operator()(T a, T b, const Options& options) const {
    if constexpr (std::is_floating_point_v<T>) {
      return std::fmod(a, b);
    } else {
      if (b == 0 || b == static_cast<T>(-1))
        return std::is_signed_v<T> || b == 0 ? T{0} : static_cast<T>(a % b);
      const T rest = static_cast<T>(a % b);
      return !options.truncates && rest != 0 && (rest < 0) != (b < 0) ? static_cast<T>(rest + b) : rest;
    }
  }
};

}  // namespace

std::span<const OpDef> bitwise_ops() {
  static const OpDef defs[] = {
      Member("BitShift", OfIntegers([](auto a, auto b, const Options& options) {
               const auto bits = static_cast<uint64_t>(b);
               if (bits >= 8 * sizeof a) return decltype(a){0};
               return static_cast<decltype(a)>(options.left ? static_cast<uint64_t>(a) << bits
                                                            : static_cast<uint64_t>(a) >> bits);
             })),
      Member("BitwiseAnd", OfIntegers([](auto a, auto b, const Options&) { return a & b; })),
      Member("BitwiseNot", OfIntegers([](auto a, auto /*b*/, const Options&) { return ~a; }), 1),
      Member("BitwiseOr", OfIntegers([](auto a, auto b, const Options&) { return a | b; })),
      Member("BitwiseXor", OfIntegers([](auto a, auto b, const Options&) { return a ^ b; })),
      Member("Mod", Remainder(), 2, /*takes_reals=*/true),
  };
  return defs;
}

}  // namespace hachi
