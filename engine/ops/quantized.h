#pragma once

#include <cmath>
#include <limits>
#include <type_traits>

#include "engine/graph/graph.h"
#include "engine/tensor/tensor.h"

// Reading and writing real numbers through quantization, for reference loops.
namespace hachi {

// A number as another type: real numbers towards zero, what is beyond the integers saturates, NaN is 0; bools
// are true where the number is not 0. Integers keep their low bits.
template <typename To, typename From>
To ConvertTo(From x) {
  if constexpr (std::is_same_v<To, bool>) {
    return x != From{};
  } else if constexpr (std::is_floating_point_v<From> && std::is_integral_v<To>) {
    if (std::isnan(x)) return 0;
    if (x <= static_cast<From>(std::numeric_limits<To>::lowest())) return std::numeric_limits<To>::lowest();
    if (x >= static_cast<From>(std::numeric_limits<To>::max())) return std::numeric_limits<To>::max();
    return static_cast<To>(x);
  } else {
    return static_cast<To>(x);
  }
}

// Element `i` of a tensor of any number type as an integer, without its scale. REQUIRES: an integer type.
int64_t IntegerAt(const TensorView& tensor, int64_t i);

// Element `i` as a real number: (q - zero_point) * scale for values with per-tensor `quant`, else the element
// itself.
float RealAt(const TensorView& tensor, int64_t i, const std::optional<QuantParams>& quant);

// Element `i` of a tensor of f32 or bf16.
inline float PlainAt(const TensorView& tensor, int64_t i) {
  return tensor.dtype == DType::kF32 ? tensor.As<float>()[static_cast<size_t>(i)]
                                     : RealAt(tensor, i, std::nullopt);
}

// Stores a real number as element `i`: rounded half to even and saturated where `quant` is set or the type is
// an integer.
void StoreReal(Tensor& tensor, int64_t i, float value, const std::optional<QuantParams>& quant);
void StoreReal(Tensor& tensor, int64_t i, float value, float scale, int32_t zero_point);

// The value after every post-op of the node; residuals are read from `inputs` at the same flat index `i`.
float ApplyPostOps(const Node& node, std::span<const TensorView> inputs, int64_t i, float value);

}  // namespace hachi
