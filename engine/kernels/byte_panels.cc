#include "engine/kernels/byte_panels.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "engine/cpu/team.h"
#include "engine/kernels/vnni.h"

namespace hachi {
namespace {

constexpr int64_t kPanel = PanelMatrix::kPanel;

// Where the parts of a packed matrix lie.
struct Parts {
  int64_t depth, columns;  // padded

  explicit Parts(const BytePanelMatrix& w)
      : depth(BytePanelMatrix::PaddedDepth(w.depth)), columns(PanelMatrix::Padded(w.columns)) {}

  size_t scales() const { return static_cast<size_t>(depth * columns); }
  size_t sums() const { return scales() + static_cast<size_t>(columns) * sizeof(float); }
};

// A row as bytes around 128; returns its scale.
HACHI_VNNI float QuantizeRow(const float* x, int64_t depth, uint8_t* bytes) {
  __m512 most = _mm512_setzero_ps();
  for (int64_t k = 0; k < depth; k += kPanel) {
    const auto mask = static_cast<__mmask16>((1u << std::min<int64_t>(depth - k, kPanel)) - 1);
    most = _mm512_max_ps(most, _mm512_abs_ps(_mm512_maskz_loadu_ps(mask, x + k)));
  }
  const float largest = _mm512_reduce_max_ps(most);
  const float scale = largest > 0 && std::isfinite(largest) ? largest / 127 : 1.0f;
  const __m512 factor = _mm512_set1_ps(1 / scale);
  const __m512i middle = _mm512_set1_epi32(128);
  for (int64_t k = 0; k < depth; k += kPanel) {
    const auto mask = static_cast<__mmask16>((1u << std::min<int64_t>(depth - k, kPanel)) - 1);
    const __m512 scaled = _mm512_mul_ps(_mm512_maskz_loadu_ps(mask, x + k), factor);
    _mm_mask_storeu_epi8(bytes + k, mask,
                         _mm512_cvtusepi32_epi8(_mm512_add_epi32(_mm512_cvtps_epi32(scaled), middle)));
  }
  for (int64_t k = depth; k < BytePanelMatrix::PaddedDepth(depth); ++k) bytes[k] = 128;
  return scale;
}

struct Task {
  const uint8_t* bytes;
  const float* row_scales;  // of the rows of a tile
  const std::byte* packed;
  Parts parts;
  int64_t columns;  // without padding
  float* out;
  int64_t out_stride;
};

// kRows rows by kPanels panels from column `first` on.
template <int kRows, int kPanels>
HACHI_VNNI void Tile(const Task& task, int64_t first) {
  const int64_t depth = task.parts.depth;
  const std::byte* weights = task.packed + first * depth;
  __m512i sums[kRows][kPanels];
#pragma GCC unroll 4
  for (int r = 0; r < kRows; ++r)
#pragma GCC unroll 4
    for (int p = 0; p < kPanels; ++p) sums[r][p] = _mm512_setzero_si512();
  for (int64_t k = 0; k < depth; k += 4) {
    __m512i loaded[kPanels];
#pragma GCC unroll 4
    for (int p = 0; p < kPanels; ++p) loaded[p] = _mm512_load_si512(weights + (p * depth + k) * kPanel);
#pragma GCC unroll 4
    for (int r = 0; r < kRows; ++r) {
      int32_t four;
      std::memcpy(&four, task.bytes + r * depth + k, sizeof four);
      const __m512i element = _mm512_set1_epi32(four);
#pragma GCC unroll 4
      for (int p = 0; p < kPanels; ++p) sums[r][p] = _mm512_dpbusd_epi32(sums[r][p], element, loaded[p]);
    }
  }
  const auto* scales = reinterpret_cast<const float*>(task.packed + task.parts.scales());
  const auto* middles = reinterpret_cast<const int32_t*>(task.packed + task.parts.sums());
#pragma GCC unroll 4
  for (int r = 0; r < kRows; ++r)
#pragma GCC unroll 4
    for (int p = 0; p < kPanels; ++p) {
      const int64_t c = first + p * kPanel;
      const auto mask = static_cast<__mmask16>((1u << std::clamp<int64_t>(task.columns - c, 0, kPanel)) - 1);
      float* to = task.out + r * task.out_stride + c;
      const __m512i centered = _mm512_sub_epi32(sums[r][p], _mm512_load_si512(middles + c));
      const __m512 scale = _mm512_mul_ps(_mm512_load_ps(scales + c), _mm512_set1_ps(task.row_scales[r]));
      _mm512_mask_storeu_ps(
          to, mask, _mm512_fmadd_ps(_mm512_cvtepi32_ps(centered), scale, _mm512_maskz_loadu_ps(mask, to)));
    }
}

// Panels `begin` to `end` of kRows rows.
template <int kRows>
void Panels(const Task& task, int64_t begin, int64_t end) {
  int64_t p = begin;
  for (; p + 4 <= end; p += 4) Tile<kRows, 4>(task, p * kPanel);
  for (; p < end; ++p) Tile<kRows, 1>(task, p * kPanel);
}

}  // namespace

void PackBytePanels(std::span<const float> weights, int64_t columns, int64_t depth, std::byte* packed) {
  const Parts parts(BytePanelMatrix{packed, depth, columns});
  auto* bytes = reinterpret_cast<int8_t*>(packed);
  auto* scales = reinterpret_cast<float*>(packed + parts.scales());
  auto* sums = reinterpret_cast<int32_t*>(packed + parts.sums());
  std::memset(packed, 0, BytePanelMatrix::BytesOf(depth, columns));
  for (int64_t c = 0; c < columns; ++c) {
    const auto column = weights.subspan(static_cast<size_t>(c * depth), static_cast<size_t>(depth));
    float largest = 0;
    for (const float w : column) largest = std::max(largest, std::abs(w));
    scales[c] = largest > 0 ? largest / 127 : 1.0f;
    for (int64_t k = 0; k < depth; ++k) {
      const auto q = static_cast<int8_t>(std::nearbyint(column[static_cast<size_t>(k)] / scales[c]));
      bytes[c / kPanel * kPanel * parts.depth + k / 4 * 4 * kPanel + c % kPanel * 4 + k % 4] = q;
      sums[c] += 128 * q;
    }
  }
}

void AddBytePanelProducts(const RowMatrix& x, const BytePanelMatrix& w, std::span<uint8_t> bytes, float* out,
                          int64_t out_stride) {
  constexpr int64_t kRows = 4;
  constexpr int64_t kGrain = 1 << 18;  // multiply-adds worth waking the team for: some µs of one core
  const Parts parts(w);
  const int64_t panels = parts.columns / kPanel;
  for (int64_t r = 0; r < x.rows; r += kRows) {
    const int64_t rows = std::min(kRows, x.rows - r);
    float scales[kRows];
    uint8_t* own = bytes.data() + r * parts.depth;
    for (int64_t i = 0; i < rows; ++i)
      scales[i] = QuantizeRow(x.data + (r + i) * x.stride, x.depth, own + i * parts.depth);
    const Task task{own, scales, w.packed, parts, w.columns, out + r * out_stride, out_stride};
    const int64_t grain = (kGrain / std::max<int64_t>(rows * parts.depth * kPanel, 1) + 4) / 4 * 4;
    ParallelFor(panels, grain, [&](int64_t begin, int64_t end) {
      if (rows == kRows) return Panels<kRows>(task, begin, end);
      for (int64_t i = 0; i < rows; ++i) {
        Task one = task;
        one.bytes += i * parts.depth;
        one.row_scales += i;
        one.out += i * out_stride;
        Panels<1>(one, begin, end);
      }
    });
  }
}

}  // namespace hachi
