#pragma once

#include <cstdint>
#include <span>

namespace hachi {

// How a row of integers stands for real numbers: (q - zero_point) * scale.
struct RowQuant {
  float scale;
  int32_t zero_point;
};

// Makes of sums of integers, `in` [rows, columns], what they stand for, when row r was quantized as quants[r]
// (or all rows as quants[0], where there is one) and column c of the weights adds up to sums[c]:
//   out[r][c] = in[r][c] * scale[r] + (bias[c] - scale[r] * zero_point[r] * sums[c])
// On the calling thread's team. `out` may be `in`; `bias` may be empty: 0. REQUIRES: as many sums as columns.
void RescaleRows(std::span<const float> in, std::span<const RowQuant> quants, std::span<const float> sums,
                 std::span<const float> bias, float* out);

}  // namespace hachi
