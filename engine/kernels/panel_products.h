#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace hachi {

// Row-major matrix of FP32: `rows` vectors of `depth` elements, `stride` elements apart.
struct RowMatrix {
  const float* data;
  int64_t rows, depth, stride;
};

// A matrix of weights for AddPanelProducts: panels of sixteen columns, each [depth, 16], one behind the
// other; the last is padded by zeros.
struct PanelMatrix {
  const float* data;
  int64_t depth, columns;  // as they are without padding

  static constexpr int64_t kPanel = 16;
  static int64_t Padded(int64_t columns) { return (columns + kPanel - 1) / kPanel * kPanel; }
};

// The same of s8, with a scale for each column.
struct IntegerPanelMatrix {
  const int8_t* data;
  const float* scales;     // Padded(columns)
  int64_t depth, columns;  // as they are without padding
};

// Writes row-major weights [columns, depth] as a PanelMatrix's data. REQUIRES: `packed` holds depth ×
// Padded(columns).
void PackPanels(std::span<const float> weights, int64_t columns, int64_t depth, std::span<float> packed);

// out[r * out_stride + c] += x[r] · (column c of w) for every row of x, on the calling thread's team. A
// result depends on the two vectors and the instruction set alone. REQUIRES: one depth; out overlaps neither.
void AddPanelProducts(const RowMatrix& x, const PanelMatrix& w, float* out, int64_t out_stride);
void AddPanelProducts(const RowMatrix& x, const IntegerPanelMatrix& w, float* out, int64_t out_stride);

}  // namespace hachi
