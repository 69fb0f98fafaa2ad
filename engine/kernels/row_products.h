#pragma once

#include <cstdint>

namespace hachi {

// Row-major matrices of FP32: `rows` vectors of `depth` elements, `stride` elements apart.
struct RowMatrix {
  const float* data;
  int64_t rows, depth, stride;
};

// out[r * out_stride + c] += x[r] · w[c] for every row r of x and row c of w, on the calling thread's team. A
// result depends on the two rows and the instruction set alone. REQUIRES: one depth; out overlaps neither.
void AddRowProducts(const RowMatrix& x, const RowMatrix& w, float* out, int64_t out_stride);

}  // namespace hachi
