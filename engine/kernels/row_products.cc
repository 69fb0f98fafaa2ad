#include "engine/kernels/row_products.h"

#include <algorithm>

#include "engine/cpu/team.h"
#include "engine/kernels/dispatch.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "engine/kernels/row_products.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace hachi {
namespace HWY_NAMESPACE {
namespace {
namespace hn = hwy::HWY_NAMESPACE;

// kRows vectors of x by kColumns of w at once, so that what is loaded is used several times.
template <int64_t kRows, int64_t kColumns>
void Block(const float* x, int64_t x_stride, const float* w, int64_t w_stride, int64_t depth, float* out,
           int64_t out_stride) {
  const hn::ScalableTag<float> d;
  using V = hn::Vec<decltype(d)>;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  V sums[kRows][kColumns];
  for (auto& row : sums)
    for (V& sum : row) sum = hn::Zero(d);
  int64_t k = 0;
  for (; k + lanes <= depth; k += lanes) {
    V columns[kColumns];
    for (int64_t c = 0; c < kColumns; ++c) columns[c] = hn::LoadU(d, w + c * w_stride + k);
    for (int64_t r = 0; r < kRows; ++r) {
      const V row = hn::LoadU(d, x + r * x_stride + k);
      for (int64_t c = 0; c < kColumns; ++c) sums[r][c] = hn::MulAdd(row, columns[c], sums[r][c]);
    }
  }
  for (int64_t r = 0; r < kRows; ++r)
    for (int64_t c = 0; c < kColumns; ++c) {
      float sum = hn::GetLane(hn::SumOfLanes(d, sums[r][c]));
      for (int64_t i = k; i < depth; ++i) sum += x[r * x_stride + i] * w[c * w_stride + i];
      out[r * out_stride + c] += sum;
    }
}

template <int64_t kRows>
void Rows(const float* x, int64_t x_stride, const float* w, int64_t w_stride, int64_t depth, int64_t columns,
          float* out, int64_t out_stride) {
  int64_t c = 0;
  for (; c + 4 <= columns; c += 4)
    Block<kRows, 4>(x, x_stride, w + c * w_stride, w_stride, depth, out + c, out_stride);
  for (; c < columns; ++c)
    Block<kRows, 1>(x, x_stride, w + c * w_stride, w_stride, depth, out + c, out_stride);
}

void Products(const RowMatrix& x, const RowMatrix& w, float* out, int64_t out_stride) {
  int64_t r = 0;
  for (; r + 4 <= x.rows; r += 4)
    Rows<4>(x.data + r * x.stride, x.stride, w.data, w.stride, x.depth, w.rows, out + r * out_stride,
            out_stride);
  for (; r < x.rows; ++r)
    Rows<1>(x.data + r * x.stride, x.stride, w.data, w.stride, x.depth, w.rows, out + r * out_stride,
            out_stride);
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace hachi
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace hachi {
namespace {
HWY_EXPORT(Products);
}  // namespace

void AddRowProducts(const RowMatrix& x, const RowMatrix& w, float* out, int64_t out_stride) {
  // Multiply-adds worth waking the team for: some µs of one core. Whole blocks of columns each.
  constexpr int64_t kGrain = 1 << 16;
  const auto products = HACHI_DISPATCH(Products);
  const int64_t column = std::max<int64_t>(x.rows * x.depth, 1);
  ParallelFor((w.rows + 3) / 4, kGrain / (4 * column) + 1, [&](int64_t begin, int64_t end) {
    const int64_t first = 4 * begin, last = std::min(w.rows, 4 * end);
    products(x, {w.data + first * w.stride, last - first, w.depth, w.stride}, out + first, out_stride);
  });
}

}  // namespace hachi
#endif
