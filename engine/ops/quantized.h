#pragma once

#include "engine/graph/graph.h"
#include "engine/tensor/tensor.h"

// Reading and writing real numbers through quantization, for reference loops.
namespace hachi {

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
