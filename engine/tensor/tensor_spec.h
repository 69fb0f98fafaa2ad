#pragma once

#include <optional>

#include "engine/tensor/dtype.h"
#include "engine/tensor/layout.h"
#include "engine/tensor/quant_params.h"
#include "engine/tensor/shape.h"

namespace hachi {

// Everything about a stored tensor but its elements: what a kernel is prepared for.
struct TensorSpec {
  DType dtype = DType::kF32;
  Shape shape;  // ONNX order
  Layout layout;
  std::optional<QuantParams> quant;  // integers that stand for real numbers

  // Bytes that stand for real numbers.
  bool is_quantized_byte() const { return quant.has_value() && SizeOf(dtype) == 1; }

  int64_t count() const { return CountOf(shape); }
  int64_t bytes() const { return count() * static_cast<int64_t>(SizeOf(dtype)); }
};

}  // namespace hachi
