#pragma once

#include <cstddef>
#include <cstdint>

namespace hachi {

// out[r * out_stride + c] = in[c * in_stride + r] for all r < rows and c < columns, on the calling thread
// alone. Strides are in elements. Fast where what is read and written a line at a time fits the first cache:
// callers cut larger work into strips of rows. REQUIRES: element_bytes is 1, 2, 4 or 8; both are aligned for
// it.
void Transpose(size_t element_bytes, const std::byte* in, int64_t in_stride, std::byte* out,
               int64_t out_stride, int64_t rows, int64_t columns);

}  // namespace hachi
