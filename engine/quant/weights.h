#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/tensor/quant_params.h"
#include "engine/tensor/tensor.h"

namespace hachi {

struct QuantizedWeights {
  Tensor values;                      // s8, in the shape of the weights
  QuantParams params;                 // along the channel axis, zero points 0
  std::vector<uint8_t> channel_bits;  // 8: [-127, 127]; 7: [-64, 63]
};

// FP32 weights as s8, symmetric, one scale a channel: the smallest that clips nothing. With `bits` 7, for
// CPUs whose u8 × s8 pair sums saturate at 16 bits, a channel has 8 bits only if no two of its values can
// reach that (their magnitudes add up to at most 128), else 7. A channel of zeros has scale 1.
// INVALID_ARGUMENT when a weight is not finite, or there are none. REQUIRES: f32; 0 <= channel_axis < rank;
// bits is 7 or 8.
absl::StatusOr<QuantizedWeights> QuantizeWeights(const TensorView& weights, int channel_axis, int bits);

// Whether two products of u8 activations and values of one channel could add up to more than 16 bits hold,
// which CPUs without VNNI saturate.
bool PairSumsMaySaturate(const Tensor& values, int channel_axis);

}  // namespace hachi
