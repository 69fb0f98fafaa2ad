#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "engine/kernels/panel_products.h"

namespace hachi {

// A matrix of weights as s8 with a scale for each column, for AddBytePanelProducts: panels of sixteen
// columns, each [depth / 4, 16, 4], then the columns' scales and what 128 times their integers adds up to.
// Depth and columns are padded by zeros.
struct BytePanelMatrix {
  const std::byte* packed;
  int64_t depth, columns;  // as they are without padding

  static int64_t PaddedDepth(int64_t depth) { return (depth + 3) / 4 * 4; }
  static size_t BytesOf(int64_t depth, int64_t columns) {
    const int64_t padded = PanelMatrix::Padded(columns);
    return static_cast<size_t>(padded * (PaddedDepth(depth) + 8));
  }
};

// Quantizes row-major weights [columns, depth], each column symmetrically over its own range, and writes them
// as a BytePanelMatrix. REQUIRES: `packed` holds BytesOf(depth, columns), aligned to 64.
void PackBytePanels(std::span<const float> weights, int64_t columns, int64_t depth, std::byte* packed);

// out[r * out_stride + c] += x[r] · (column c of w), where row r is quantized to 255 steps over what it
// holds, the products of integers are summed exactly and then scaled; on the calling thread's team. A result
// depends on the two vectors alone. `bytes` is scratch. REQUIRES: a CPU with AVX-512 VNNI; one depth; `bytes`
// has room for rows × PaddedDepth(depth), `out` overlaps nothing.
void AddBytePanelProducts(const RowMatrix& x, const BytePanelMatrix& w, std::span<uint8_t> bytes, float* out,
                          int64_t out_stride);

}  // namespace hachi
