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

// kRows vectors of x by kPanels panels of w: sums stay in registers, every weight is loaded once.
template <int64_t kRows, int64_t kPanels>
void Tile(const float* x, int64_t x_stride, const float* w, int64_t depth, int64_t columns, float* out,
          int64_t out_stride) {
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
    const float* weights = w + k * PanelMatrix::kPanel;
    V loaded[kVectors];
#pragma GCC unroll 8
    for (int64_t v = 0; v < kVectors; ++v)
      loaded[v] =
          hn::Load(d, weights + v / kInPanel * depth * PanelMatrix::kPanel + v % kInPanel * kMostLanes);
#pragma GCC unroll 4
    for (int64_t r = 0; r < kRows; ++r) {
      const V element = hn::Set(d, x[r * x_stride + k]);
#pragma GCC unroll 8
      for (int64_t v = 0; v < kVectors; ++v) sums[r][v] = hn::MulAdd(element, loaded[v], sums[r][v]);
    }
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

template <int64_t kPanels>
void Panels(const RowMatrix& x, const float* w, int64_t columns, float* out, int64_t out_stride) {
  int64_t r = 0;
  for (; r + 4 <= x.rows; r += 4)
    Tile<4, kPanels>(x.data + r * x.stride, x.stride, w, x.depth, columns, out + r * out_stride, out_stride);
  for (; r < x.rows; ++r)
    Tile<1, kPanels>(x.data + r * x.stride, x.stride, w, x.depth, columns, out + r * out_stride, out_stride);
}

constexpr int64_t kWide = HWY_MAX_BYTES >= 64 ? 4 : 1;  // panels that four rows' registers hold

// Panels `begin` to `end`.
void Products(const RowMatrix& x, const PanelMatrix& w, int64_t begin, int64_t end, float* out,
              int64_t out_stride) {
  for (int64_t p = begin; p < end;) {
    const int64_t first = p * PanelMatrix::kPanel;
    if (p + kWide <= end) {
      Panels<kWide>(x, w.data + first * w.depth,
                    std::min<int64_t>(w.columns - first, kWide * PanelMatrix::kPanel), out + first,
                    out_stride);
      p += kWide;
    } else {
      Panels<1>(x, w.data + first * w.depth, std::min<int64_t>(w.columns - first, PanelMatrix::kPanel),
                out + first, out_stride);
      ++p;
    }
  }
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

void PackPanels(std::span<const float> weights, int64_t columns, int64_t depth, std::span<float> packed) {
  constexpr int64_t kPanel = PanelMatrix::kPanel;
  for (int64_t first = 0; first < columns; first += kPanel)
    for (int64_t k = 0; k < depth; ++k)
      for (int64_t c = first; c < first + kPanel; ++c)
        packed[static_cast<size_t>(first * depth + k * kPanel + c - first)] =
            c < columns ? weights[static_cast<size_t>(c * depth + k)] : 0.0f;
}

void AddPanelProducts(const RowMatrix& x, const PanelMatrix& w, float* out, int64_t out_stride) {
  // Multiply-adds worth waking the team for: some µs of one core. Four panels together are the fastest.
  constexpr int64_t kGrain = 1 << 17;
  const auto products = HACHI_DISPATCH(Products);
  const int64_t panels = PanelMatrix::Padded(w.columns) / PanelMatrix::kPanel;
  const int64_t panel = std::max<int64_t>(x.rows * x.depth * PanelMatrix::kPanel, 1);
  const int64_t grain = (kGrain / panel + 4) / 4 * 4;
  ParallelFor(panels, grain,
              [&](int64_t begin, int64_t end) { products(x, w, begin, end, out, out_stride); });
}

}  // namespace hachi
#endif
