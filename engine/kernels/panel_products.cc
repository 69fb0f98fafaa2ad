#include "engine/kernels/panel_products.h"

#include <algorithm>

#include "engine/cpu/team.h"
#include "engine/kernels/dispatch.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "engine/kernels/panel_products.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace hachi {
namespace HWY_NAMESPACE {
namespace {
namespace hn = hwy::HWY_NAMESPACE;

template <class D>
hn::Vec<D> LoadWeights(D d, const float* weights) {
  return hn::Load(d, weights);
}
template <class D>
hn::Vec<D> LoadWeights(D d, const int8_t* weights) {
  return hn::ConvertTo(d,
                       hn::PromoteTo(hn::RebindToSigned<D>(), hn::LoadU(hn::Rebind<int8_t, D>(), weights)));
}

// kRows vectors of x by kPanels panels of w: sums stay in registers, every weight is loaded once. `scales`
// are those of the columns; null: one.
template <int64_t kRows, int64_t kPanels, typename W>
void Tile(const float* x, int64_t x_stride, const W* w, const float* scales, int64_t depth, int64_t columns,
          float* out, int64_t out_stride) {
  const hn::CappedTag<float, PanelMatrix::kPanel> d;
  using V = hn::Vec<decltype(d)>;
  // Vectors of a panel: more than one where registers are shorter.
  constexpr int64_t kMostLanes = HWY_MAX_BYTES / sizeof(float) < 16 ? HWY_MAX_BYTES / sizeof(float) : 16;
  constexpr int64_t kInPanel = PanelMatrix::kPanel / kMostLanes, kVectors = kPanels * kInPanel;
  V sums[kRows][kVectors];
#pragma GCC unroll 4
  for (int64_t r = 0; r < kRows; ++r)
#pragma GCC unroll 8
    for (int64_t v = 0; v < kVectors; ++v) sums[r][v] = hn::Zero(d);
  for (int64_t k = 0; k < depth; ++k) {
    const W* weights = w + k * PanelMatrix::kPanel;
    V loaded[kVectors];
#pragma GCC unroll 8
    for (int64_t v = 0; v < kVectors; ++v)
      loaded[v] =
          LoadWeights(d, weights + v / kInPanel * depth * PanelMatrix::kPanel + v % kInPanel * kMostLanes);
#pragma GCC unroll 4
    for (int64_t r = 0; r < kRows; ++r) {
      const V element = hn::Set(d, x[r * x_stride + k]);
#pragma GCC unroll 8
      for (int64_t v = 0; v < kVectors; ++v) sums[r][v] = hn::MulAdd(element, loaded[v], sums[r][v]);
    }
  }
  if (scales != nullptr) {
#pragma GCC unroll 4
    for (int64_t r = 0; r < kRows; ++r)
#pragma GCC unroll 8
      for (int64_t v = 0; v < kVectors; ++v)
        sums[r][v] = hn::Mul(sums[r][v], hn::LoadU(d, scales + v * kMostLanes));
  }
  alignas(64) float last[kPanels * PanelMatrix::kPanel];
#pragma GCC unroll 4
  for (int64_t r = 0; r < kRows; ++r) {
    float* to = out + r * out_stride;
    if (columns == kPanels * PanelMatrix::kPanel) {
#pragma GCC unroll 8
      for (int64_t v = 0; v < kVectors; ++v)
        hn::StoreU(hn::Add(hn::LoadU(d, to + v * kMostLanes), sums[r][v]), d, to + v * kMostLanes);
    } else {
#pragma GCC unroll 8
      for (int64_t v = 0; v < kVectors; ++v) hn::Store(sums[r][v], d, last + v * kMostLanes);
      for (int64_t c = 0; c < columns; ++c) to[c] += last[c];
    }
  }
}

template <int64_t kPanels, typename W>
void Panels(const RowMatrix& x, const W* w, const float* scales, int64_t columns, float* out,
            int64_t out_stride) {
  int64_t r = 0;
  for (; r + 4 <= x.rows; r += 4)
    Tile<4, kPanels>(x.data + r * x.stride, x.stride, w, scales, x.depth, columns, out + r * out_stride,
                     out_stride);
  for (; r < x.rows; ++r)
    Tile<1, kPanels>(x.data + r * x.stride, x.stride, w, scales, x.depth, columns, out + r * out_stride,
                     out_stride);
}

constexpr int64_t kWide = HWY_MAX_BYTES >= 64 ? 4 : 1;  // panels that four rows' registers hold

// Panels `begin` to `end`.
template <typename Matrix>
void PanelsFrom(const RowMatrix& x, const Matrix& w, const float* scales, int64_t begin, int64_t end,
                float* out, int64_t out_stride) {
  for (int64_t p = begin; p < end;) {
    const int64_t first = p * PanelMatrix::kPanel;
    if (p + kWide <= end) {
      Panels<kWide>(x, w.data + first * w.depth, scales == nullptr ? nullptr : scales + first,
                    std::min<int64_t>(w.columns - first, kWide * PanelMatrix::kPanel), out + first,
                    out_stride);
      p += kWide;
    } else {
      Panels<1>(x, w.data + first * w.depth, scales == nullptr ? nullptr : scales + first,
                std::min<int64_t>(w.columns - first, PanelMatrix::kPanel), out + first, out_stride);
      ++p;
    }
  }
}

void Products(const RowMatrix& x, const PanelMatrix& w, int64_t begin, int64_t end, float* out,
              int64_t out_stride) {
  PanelsFrom(x, w, nullptr, begin, end, out, out_stride);
}
void IntegerProducts(const RowMatrix& x, const IntegerPanelMatrix& w, int64_t begin, int64_t end, float* out,
                     int64_t out_stride) {
  PanelsFrom(x, w, w.scales, begin, end, out, out_stride);
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace hachi
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace hachi {
namespace {
HWY_EXPORT(Products);
HWY_EXPORT(IntegerProducts);

template <typename Matrix, typename Kernel>
void InParallel(const RowMatrix& x, const Matrix& w, float* out, int64_t out_stride, Kernel kernel) {
  // Multiply-adds worth waking the team for: some µs of one core. Four panels together are the fastest.
  constexpr int64_t kGrain = 1 << 17;
  const int64_t panels = PanelMatrix::Padded(w.columns) / PanelMatrix::kPanel;
  const int64_t panel = std::max<int64_t>(x.rows * x.depth * PanelMatrix::kPanel, 1);
  const int64_t grain = (kGrain / panel + 4) / 4 * 4;
  ParallelFor(panels, grain, [&](int64_t begin, int64_t end) { kernel(x, w, begin, end, out, out_stride); });
}

}  // namespace

void PackPanels(std::span<const float> weights, int64_t columns, int64_t depth, std::span<float> packed) {
  constexpr int64_t kPanel = PanelMatrix::kPanel;
  for (int64_t first = 0; first < columns; first += kPanel)
    for (int64_t k = 0; k < depth; ++k)
      for (int64_t c = first; c < first + kPanel; ++c)
        packed[static_cast<size_t>(first * depth + k * kPanel + c - first)] =
            c < columns ? weights[static_cast<size_t>(c * depth + k)] : 0.0f;
}

void AddPanelProducts(const RowMatrix& x, const PanelMatrix& w, float* out, int64_t out_stride) {
  InParallel(x, w, out, out_stride, HACHI_DISPATCH(Products));
}
void AddPanelProducts(const RowMatrix& x, const IntegerPanelMatrix& w, float* out, int64_t out_stride) {
  InParallel(x, w, out, out_stride, HACHI_DISPATCH(IntegerProducts));
}

}  // namespace hachi
#endif
