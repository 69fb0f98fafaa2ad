#include "engine/kernels/transpose.h"

#include <cstring>

#include "engine/kernels/dispatch.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "engine/kernels/transpose.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace hachi {
namespace HWY_NAMESPACE {
namespace {
namespace hn = hwy::HWY_NAMESPACE;

#if HWY_TARGET != HWY_SCALAR
// One square of as many elements as 16 bytes hold: out[r * out_stride + c] = in[c * in_stride + r]. Each
// round interleaves row i with row i + half, which rotates the bits of an element's (row, column) index by
// one; after log2(lanes) rounds row and column have changed places.
template <typename T>
HWY_INLINE void TransposeSquare(const T* in, int64_t in_stride, T* out, int64_t out_stride) {
  constexpr size_t kLanes = 16 / sizeof(T);
  const hn::FixedTag<T, kLanes> d;
  using V = hn::Vec<decltype(d)>;
  V rows[kLanes], next[kLanes];
  HWY_UNROLL(16)
  for (size_t i = 0; i < kLanes; ++i) rows[i] = hn::LoadU(d, in + static_cast<int64_t>(i) * in_stride);
  HWY_UNROLL(4)
  for (size_t round = 1; round < kLanes; round *= 2) {
    HWY_UNROLL(8)
    for (size_t i = 0; i < kLanes / 2; ++i) {
      next[2 * i] = hn::InterleaveLower(d, rows[i], rows[i + kLanes / 2]);
      next[2 * i + 1] = hn::InterleaveUpper(d, rows[i], rows[i + kLanes / 2]);
    }
    HWY_UNROLL(16)
    for (size_t i = 0; i < kLanes; ++i) rows[i] = next[i];
  }
  HWY_UNROLL(16)
  for (size_t i = 0; i < kLanes; ++i) hn::StoreU(rows[i], d, out + static_cast<int64_t>(i) * out_stride);
}
#endif

// Three columns without gaps: images.
template <typename T>
void Interleave3(const T* in, int64_t in_stride, T* out, int64_t rows) {
  const hn::ScalableTag<T> d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  int64_t r = 0;
  for (; r + lanes <= rows; r += lanes)
    hn::StoreInterleaved3(hn::LoadU(d, in + r), hn::LoadU(d, in + in_stride + r),
                          hn::LoadU(d, in + 2 * in_stride + r), d, out + 3 * r);
  for (; r < rows; ++r)
    for (int64_t c = 0; c < 3; ++c) std::memcpy(out + 3 * r + c, in + c * in_stride + r, sizeof(T));
}

template <typename T>
void TransposeBlock(const T* in, int64_t in_stride, T* out, int64_t out_stride, int64_t rows,
                    int64_t columns) {
  int64_t whole_rows = 0, whole_columns = 0;
#if HWY_TARGET != HWY_SCALAR
  constexpr int64_t kLanes = 16 / sizeof(T);
  whole_rows = rows - rows % kLanes;
  whole_columns = columns - columns % kLanes;
  for (int64_t c = 0; c < whole_columns; c += kLanes)
    for (int64_t r = 0; r < whole_rows; r += kLanes)
      TransposeSquare(in + c * in_stride + r, in_stride, out + r * out_stride + c, out_stride);
#endif
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t c = r < whole_rows ? whole_columns : 0; c < columns; ++c)
      std::memcpy(out + r * out_stride + c, in + c * in_stride + r, sizeof(T));
}

template <typename T>
void TransposeBytes(const std::byte* in, int64_t in_stride, std::byte* out, int64_t out_stride, int64_t rows,
                    int64_t columns) {
  const T* from = reinterpret_cast<const T*>(in);
  T* to = reinterpret_cast<T*>(out);
  if (columns == 3 && out_stride == 3)
    Interleave3(from, in_stride, to, rows);
  else
    TransposeBlock(from, in_stride, to, out_stride, rows, columns);
}

void Transpose1(const std::byte* in, int64_t in_stride, std::byte* out, int64_t out_stride, int64_t rows,
                int64_t columns) {
  TransposeBytes<uint8_t>(in, in_stride, out, out_stride, rows, columns);
}
void Transpose2(const std::byte* in, int64_t in_stride, std::byte* out, int64_t out_stride, int64_t rows,
                int64_t columns) {
  TransposeBytes<uint16_t>(in, in_stride, out, out_stride, rows, columns);
}
void Transpose4(const std::byte* in, int64_t in_stride, std::byte* out, int64_t out_stride, int64_t rows,
                int64_t columns) {
  TransposeBytes<uint32_t>(in, in_stride, out, out_stride, rows, columns);
}
void Transpose8(const std::byte* in, int64_t in_stride, std::byte* out, int64_t out_stride, int64_t rows,
                int64_t columns) {
  TransposeBytes<uint64_t>(in, in_stride, out, out_stride, rows, columns);
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace hachi
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace hachi {
namespace {

HWY_EXPORT(Transpose1);
HWY_EXPORT(Transpose2);
HWY_EXPORT(Transpose4);
HWY_EXPORT(Transpose8);

}  // namespace

void Transpose(size_t element_bytes, const std::byte* in, int64_t in_stride, std::byte* out,
               int64_t out_stride, int64_t rows, int64_t columns) {
  switch (element_bytes) {
    case 1:
      return HACHI_DISPATCH(Transpose1)(in, in_stride, out, out_stride, rows, columns);
    case 2:
      return HACHI_DISPATCH(Transpose2)(in, in_stride, out, out_stride, rows, columns);
    case 4:
      return HACHI_DISPATCH(Transpose4)(in, in_stride, out, out_stride, rows, columns);
    case 8:
      return HACHI_DISPATCH(Transpose8)(in, in_stride, out, out_stride, rows, columns);
  }
}

}  // namespace hachi
#endif
