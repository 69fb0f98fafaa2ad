#pragma once

#include <cstddef>
#include <cstdint>

#include "engine/tensor/dtype.h"
#include "engine/tensor/quant_params.h"

namespace hachi {

// Global average pooling of [rows, pixels, channels] (nhwc) bytes.
struct AvgPoolSpec {
  int64_t pixels = 1;       // at most 2^23
  int64_t channels = 1;     // at least 1
  DType from = DType::kU8;  // u8 or s8
  DType to = DType::kU8;    // u8, s8 or f32
  QuantParams from_quant;   // per tensor
  QuantParams to_quant;     // per tensor; unused where `to` is f32
};

// Mean over the pixels of each channel of each row, on the calling thread's team. Sums are exact; a mean is
//   float(sum - pixels × zero point of `from`) × float(scale of `from` / pixels)
// and is quantized from that once, by QuantizeValue. REQUIRES: `in` has rows × pixels × channels elements,
// `out` rows × channels.
void GlobalAveragePool(const AvgPoolSpec& spec, int64_t rows, const std::byte* in, std::byte* out);

}  // namespace hachi
