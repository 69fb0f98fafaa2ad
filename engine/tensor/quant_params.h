#pragma once

#include <cmath>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "engine/tensor/dtype.h"

namespace hachi {

// How integers stand for real numbers: real = (q - zero_point) * scale, as ONNX QuantizeLinear defines it.
struct QuantParams {
  std::vector<float> scales = {1.0f};      // one, or one for each index along `axis`; positive and finite
  std::vector<int32_t> zero_points = {0};  // as many as scales
  int axis = -1;                           // -1: per tensor

  bool per_tensor() const { return axis < 0; }
  float scale() const { return scales[0]; }              // REQUIRES: per_tensor()
  int32_t zero_point() const { return zero_points[0]; }  // REQUIRES: per_tensor()

  // "scale=0.5 zero_point=3"; per axis "axis=0 scales=16".
  std::string ToText() const;

  static QuantParams PerTensor(float scale, int32_t zero_point) { return {{scale}, {zero_point}, -1}; }

  friend bool operator==(const QuantParams&, const QuantParams&) = default;
};

// round-half-to-even(x / scale) + zero_point, saturated to T. Where x / scale is NaN: the zero point.
template <typename T>
T QuantizeValue(float x, float scale, int32_t zero_point) {
  const float steps = x / scale;
  if (std::isnan(steps)) return static_cast<T>(zero_point);
  const float q = std::nearbyint(steps) + static_cast<float>(zero_point);
  if (q <= static_cast<float>(std::numeric_limits<T>::lowest())) return std::numeric_limits<T>::lowest();
  if (q >= static_cast<float>(std::numeric_limits<T>::max())) return std::numeric_limits<T>::max();
  return static_cast<T>(q);
}

template <typename T>
float DequantizeValue(T q, float scale, int32_t zero_point) {
  return static_cast<float>(static_cast<int32_t>(q) - zero_point) * scale;
}

}  // namespace hachi
