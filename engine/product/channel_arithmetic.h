#pragma once

#include <cstdint>
#include <numeric>
#include <vector>

#include "engine/product/convolution_spec.h"

namespace hachi {

// How a quantized convolution's sums become integers of its result: sum * factor + offset, channel by
// channel. Kernels of ours compute it with one rounding. REQUIRES: bytes with a scale in and out, s8 weights.
struct ChannelArithmetic {
  std::vector<float> factor, offset;
  float residual_factor = 0.0f;  // of what is added, an integer of the residual

  static ChannelArithmetic Of(const ConvolutionSpec& spec) {
    const QuantParams &from = *spec.src.quant, &to = *spec.dst.quant;
    ChannelArithmetic arithmetic;
    float shift = static_cast<float>(to.zero_point());
    if (spec.residual) {
      arithmetic.residual_factor = spec.residual->quant->scale() / to.scale();
      shift -= static_cast<float>(spec.residual->quant->zero_point()) * arithmetic.residual_factor;
    }
    const auto weights = spec.weights->As<int8_t>();
    const auto channels = static_cast<size_t>(spec.weights->shape()[0]), depth = weights.size() / channels;
    for (size_t c = 0; c < channels; ++c) {
      const float weight_scale = spec.weight_quant->scales[spec.weight_quant->per_tensor() ? 0 : c];
      const float factor = from.scale() * weight_scale / to.scale();
      const auto own = weights.subspan(c * depth, depth);
      const int32_t sum = std::reduce(own.begin(), own.end(), int32_t{0});
      const float bias = spec.bias == nullptr ? 0.0f : spec.bias->As<float>()[c];
      arithmetic.factor.push_back(factor);
      arithmetic.offset.push_back(bias / to.scale() + shift -
                                  static_cast<float>(from.zero_point() * sum) * factor);
    }
    return arithmetic;
  }
};

}  // namespace hachi
