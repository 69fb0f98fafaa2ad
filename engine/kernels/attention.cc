#include "engine/kernels/attention.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "engine/cpu/team.h"
#include "engine/kernels/vnni.h"

namespace hachi {
namespace {

constexpr int64_t kLanes = 16;
constexpr int64_t kRows = 4;  // queries of a tile
constexpr float kLeftOut = -9000;
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

constexpr int64_t Up(int64_t n, int64_t step) { return (n + step - 1) / step * step; }

__mmask16 FirstOf(int64_t count) {
  return static_cast<__mmask16>((uint32_t{1} << std::clamp<int64_t>(count, 0, kLanes)) - 1);
}

// A thread's scratch: integers of one head, and a tile of scores.
struct Slot {
  int64_t keys, depth, columns;  // padded: to lanes, to four, to lanes
  float *mean = nullptr, *key_scales = nullptr, *value_scales = nullptr, *scores = nullptr;
  int32_t* key_sums = nullptr;    // 128 times the sum of each key's integers
  int8_t* key_bytes = nullptr;    // [keys / 16, depth / 4, 16, 4]
  int8_t* value_bytes = nullptr;  // [columns / 16, keys / 4, 16, 4]
  uint8_t *query_bytes = nullptr, *weights = nullptr;

  // Lays the parts out from `base` on, where that is not null; `bytes` is what they take together.
  Slot(const AttentionSpec& spec, std::byte* base, size_t& bytes)
      : keys(Up(spec.keys, kLanes)), depth(Up(spec.depth, kLanes)), columns(Up(spec.columns, kLanes)) {
    bytes = 0;
    const auto take = [&](auto*& part, int64_t count) {
      if (base != nullptr) part = reinterpret_cast<std::remove_reference_t<decltype(part)>>(base + bytes);
      bytes += static_cast<size_t>(Up(count * static_cast<int64_t>(sizeof *part), 64));
    };
    take(mean, depth);
    take(key_scales, keys);
    take(value_scales, columns);
    take(scores, kRows * keys);
    take(key_sums, keys);
    take(key_bytes, keys * depth);
    take(value_bytes, keys * columns);
    take(query_bytes, kRows * depth);
    take(weights, kRows * keys);
  }
};

// The scale that brings `largest` to 127; NaN where that is not finite.
float ScaleOf(float largest) {
  if (!std::isfinite(largest)) return kNan;
  return largest > 0 ? largest / 127 : 1.0f;
}

// The largest magnitude of lanes, and NaN where one is NaN: bits of magnitudes compare as integers.
HACHI_VNNI_INLINE __m512i MagnitudeBits(__m512 x) {
  return _mm512_and_si512(_mm512_castps_si512(x), _mm512_set1_epi32(0x7FFFFFFF));
}
HACHI_VNNI_INLINE float LargestOf(__m512i bits) {
  return _mm_cvtss_f32(_mm_castsi128_ps(_mm_cvtsi32_si128(static_cast<int>(_mm512_reduce_max_epu32(bits)))));
}

HACHI_VNNI void FindMean(const float* k, int64_t stride, int64_t keys, int64_t depth, float* mean) {
  const __m512 share = _mm512_set1_ps(1 / static_cast<float>(keys));
  for (int64_t d = 0; d < depth; d += kLanes) {
    __m512 sum = _mm512_setzero_ps();
    for (int64_t j = 0; j < keys; ++j)
      sum = _mm512_add_ps(sum, _mm512_maskz_loadu_ps(FirstOf(depth - d), k + j * stride + d));
    _mm512_store_ps(mean + d, _mm512_mul_ps(sum, share));
  }
}

// Quantizes the keys; false: one holds what is not finite.
HACHI_VNNI bool PackKeys(const float* k, int64_t stride, int64_t keys, int64_t depth, Slot& slot) {
  FindMean(k, stride, keys, depth, slot.mean);
  for (int64_t j = 0; j < Up(keys, kLanes); ++j) {
    auto* to = reinterpret_cast<int32_t*>(slot.key_bytes) + j / kLanes * slot.depth / 4 * kLanes + j % kLanes;
    const int64_t own = j < keys ? depth : 0;  // what pads is zeros
    const auto load = [&](int64_t d) HACHI_VNNI {
      const __mmask16 lanes = FirstOf(own - d);
      return _mm512_maskz_sub_ps(lanes, _mm512_maskz_loadu_ps(lanes, k + j * stride + d),
                                 _mm512_load_ps(slot.mean + d));
    };
    __m512i most = _mm512_setzero_si512();
    for (int64_t d = 0; d < slot.depth; d += kLanes) most = _mm512_max_epu32(most, MagnitudeBits(load(d)));
    const float scale = ScaleOf(LargestOf(most));
    if (std::isnan(scale)) return false;
    const __m512 factor = _mm512_set1_ps(1 / scale);
    __m512i sums = _mm512_setzero_si512();
    for (int64_t d = 0; d < slot.depth; d += kLanes) {
      const __m512i integers = _mm512_cvtps_epi32(_mm512_mul_ps(load(d), factor));
      sums = _mm512_add_epi32(sums, integers);
      alignas(16) int32_t fours[4];
      _mm_store_si128(reinterpret_cast<__m128i*>(fours), _mm512_cvtsepi32_epi8(integers));
      for (int64_t i = 0; i < 4; ++i) to[(d / 4 + i) * kLanes] = fours[i];
    }
    slot.key_scales[j] = scale;
    slot.key_sums[j] = 128 * _mm512_reduce_add_epi32(sums);
  }
  return true;
}

// Quantizes the values, by feature.
HACHI_VNNI void PackValues(const float* v, int64_t stride, int64_t keys, int64_t columns, Slot& slot) {
  const int64_t padded = Up(keys, kLanes);
  for (int64_t c = 0; c < slot.columns; c += kLanes) {
    const __mmask16 lanes = FirstOf(columns - c);
    const auto load = [&](int64_t j) HACHI_VNNI {
      return j < keys ? _mm512_maskz_loadu_ps(lanes, v + j * stride + c) : _mm512_setzero_ps();
    };
    __m512i most = _mm512_setzero_si512();
    for (int64_t j = 0; j < keys; ++j) most = _mm512_max_epu32(most, MagnitudeBits(load(j)));
    const __m512 largest = _mm512_castsi512_ps(most);
    __m512 scale = _mm512_div_ps(largest, _mm512_set1_ps(127));
    scale = _mm512_mask_blend_ps(_mm512_cmp_ps_mask(largest, _mm512_setzero_ps(), _CMP_EQ_OQ), scale,
                                 _mm512_set1_ps(1));
    scale = _mm512_mask_blend_ps(_mm512_cmpge_epu32_mask(most, _mm512_set1_epi32(0x7F800000)), scale,
                                 _mm512_set1_ps(kNan));
    _mm512_store_ps(slot.value_scales + c, scale);
    const __m512 factor = _mm512_div_ps(_mm512_set1_ps(1), scale);
    auto* to = slot.value_bytes + c * slot.keys;
    const __m512i byte = _mm512_set1_epi32(0xFF);
    for (int64_t j = 0; j < padded; j += 4, to += 4 * kLanes) {
      __m512i four = _mm512_setzero_si512();
      for (int64_t i = 3; i >= 0; --i) {
        const __m512i integers = _mm512_cvtps_epi32(_mm512_mul_ps(load(j + i), factor));
        four = _mm512_or_si512(_mm512_slli_epi32(four, 8), _mm512_and_si512(integers, byte));
      }
      _mm512_store_si512(to, four);
    }
  }
}

// A query as bytes around 128; its scale.
HACHI_VNNI float PackQuery(const float* q, int64_t depth, int64_t padded, uint8_t* bytes) {
  __m512i most = _mm512_setzero_si512();
  for (int64_t d = 0; d < depth; d += kLanes)
    most = _mm512_max_epu32(most, MagnitudeBits(_mm512_maskz_loadu_ps(FirstOf(depth - d), q + d)));
  const float scale = ScaleOf(LargestOf(most));
  const __m512 factor = _mm512_set1_ps(1 / scale);
  for (int64_t d = 0; d < padded; d += kLanes) {
    const __m512 x = _mm512_mul_ps(_mm512_maskz_loadu_ps(FirstOf(depth - d), q + d), factor);
    _mm_store_si128(reinterpret_cast<__m128i*>(bytes + d),
                    _mm512_cvtusepi32_epi8(_mm512_add_epi32(_mm512_cvtps_epi32(x), _mm512_set1_epi32(128))));
  }
  return scale;
}

// Sums of kRows rows of bytes, `stride` apart, times kPanels panels, each `panel_bytes` long, over `fours`
// fours.
template <int kPanels>
HACHI_VNNI_INLINE void SumTile(const uint8_t* rows, int64_t stride, const int8_t* panels, int64_t panel_bytes,
                               int64_t fours, __m512i (&sums)[kRows][kPanels]) {
#pragma GCC unroll 4
  for (int r = 0; r < kRows; ++r)
#pragma GCC unroll 4
    for (int p = 0; p < kPanels; ++p) sums[r][p] = _mm512_setzero_si512();
  for (int64_t k = 0; k < fours; ++k) {
    __m512i loaded[kPanels];
#pragma GCC unroll 4
    for (int p = 0; p < kPanels; ++p)
      loaded[p] = _mm512_load_si512(panels + p * panel_bytes + k * 4 * kLanes);
#pragma GCC unroll 4
    for (int r = 0; r < kRows; ++r) {
      int32_t four;
      std::memcpy(&four, rows + r * stride + 4 * k, sizeof four);
      const __m512i element = _mm512_set1_epi32(four);
#pragma GCC unroll 4
      for (int p = 0; p < kPanels; ++p) sums[r][p] = _mm512_dpbusd_epi32(sums[r][p], element, loaded[p]);
    }
  }
}

// e^x for x that are not positive; 0 below the smallest normal number. As engine/kernels/softmax.
HACHI_VNNI_INLINE __m512 ExpOfNegative(__m512 x) {
  const __m512 n = _mm512_roundscale_ps(_mm512_mul_ps(x, _mm512_set1_ps(1.44269504f)), 0);
  __m512 r = _mm512_fnmadd_ps(n, _mm512_set1_ps(0.693359375f), x);
  r = _mm512_fnmadd_ps(n, _mm512_set1_ps(-2.12194440e-4f), r);
  __m512 p = _mm512_set1_ps(0.008312520571053028f);
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(0.04189015552401543f));
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(0.16667114198207855f));
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(0.499992311000824f));
  const __m512 y = _mm512_fmadd_ps(p, _mm512_mul_ps(r, r), _mm512_add_ps(r, _mm512_set1_ps(1)));
  const __mmask16 normal = _mm512_cmp_ps_mask(x, _mm512_set1_ps(-87.3f), _CMP_GE_OQ);
  return _mm512_maskz_scalef_ps(normal, y, n);
}

// What a tile knows of its rows.
struct Tile {
  const AttentionSpec& spec;
  const Slot& slot;
  int64_t keys;               // that are computed
  int64_t rows;               // at most kRows
  float query_scales[kRows];  // with the spec's; NaN: the row is spoilt
  const float* masks[kRows];  // of its rows; null: none
  float* out[kRows];
};

template <int kPanels>
HACHI_VNNI_INLINE void ScoreTile(const Tile& tile, int64_t first) {
  const Slot& slot = tile.slot;
  __m512i sums[kRows][kPanels];
  SumTile<kPanels>(slot.query_bytes, slot.depth, slot.key_bytes + first * slot.depth, kLanes * slot.depth,
                   slot.depth / 4, sums);
#pragma GCC unroll 4
  for (int p = 0; p < kPanels; ++p) {
    const int64_t j = first + p * kLanes;
    const __m512i middle = _mm512_load_si512(slot.key_sums + j);
    const __m512 scale = _mm512_load_ps(slot.key_scales + j);
#pragma GCC unroll 4
    for (int r = 0; r < kRows; ++r) {
      const __m512 product = _mm512_cvtepi32_ps(_mm512_sub_epi32(sums[r][p], middle));
      __m512 score = _mm512_mul_ps(product, _mm512_mul_ps(scale, _mm512_set1_ps(tile.query_scales[r])));
      const __mmask16 lanes = FirstOf(tile.keys - j);
      if (tile.masks[r] != nullptr)
        score = _mm512_add_ps(score, _mm512_maskz_loadu_ps(lanes, tile.masks[r] + j));
      score = _mm512_mask_blend_ps(lanes, _mm512_set1_ps(-INFINITY), score);
      _mm512_store_ps(slot.scores + r * slot.keys + j, score);
    }
  }
}

// The row's scores as bytes of 255 times e^(score - largest), and their sum; 0: the row has no answer.
HACHI_VNNI_INLINE int32_t WeighRow(const float* scores, int64_t keys, uint8_t* weights) {
  __m512 most = _mm512_set1_ps(-INFINITY);
  __mmask16 unordered = 0;
  for (int64_t j = 0; j < keys; j += kLanes) {
    const __m512 x = _mm512_load_ps(scores + j);
    unordered |= _mm512_cmp_ps_mask(x, x, _CMP_UNORD_Q);
    most = _mm512_max_ps(most, x);
  }
  const float largest = _mm512_reduce_max_ps(most);
  if (unordered != 0 || !std::isfinite(largest)) return 0;
  __m512i sums = _mm512_setzero_si512();
  for (int64_t j = 0; j < keys; j += kLanes) {
    const __m512 e = ExpOfNegative(_mm512_sub_ps(_mm512_load_ps(scores + j), _mm512_set1_ps(largest)));
    const __m512i integers = _mm512_cvtps_epi32(_mm512_mul_ps(e, _mm512_set1_ps(255)));
    sums = _mm512_add_epi32(sums, integers);
    _mm_store_si128(reinterpret_cast<__m128i*>(weights + j), _mm512_cvtusepi32_epi8(integers));
  }
  return _mm512_reduce_add_epi32(sums);
}

template <int kPanels>
HACHI_VNNI_INLINE void ContextTile(const Tile& tile, const float (&shares)[kRows], int64_t first) {
  const Slot& slot = tile.slot;
  __m512i sums[kRows][kPanels];
  SumTile<kPanels>(slot.weights, slot.keys, slot.value_bytes + first * slot.keys, kLanes * slot.keys,
                   Up(tile.keys, kLanes) / 4, sums);
#pragma GCC unroll 4
  for (int p = 0; p < kPanels; ++p) {
    const int64_t c = first + p * kLanes;
    const __m512 scale = _mm512_load_ps(slot.value_scales + c);
#pragma GCC unroll 4
    for (int r = 0; r < kRows; ++r) {
      const __m512 share = _mm512_mul_ps(scale, _mm512_set1_ps(shares[r]));
      if (r < tile.rows)
        _mm512_mask_storeu_ps(tile.out[r] + c, FirstOf(tile.spec.columns - c),
                              _mm512_mul_ps(_mm512_cvtepi32_ps(sums[r][p]), share));
    }
  }
}

HACHI_VNNI void RunTile(const Tile& tile) {
  const Slot& slot = tile.slot;
  const int64_t keys = Up(tile.keys, kLanes);
  int64_t j = 0;
  for (; j + 4 * kLanes <= keys; j += 4 * kLanes) ScoreTile<4>(tile, j);
  for (; j < keys; j += kLanes) ScoreTile<1>(tile, j);
  float shares[kRows] = {};
  for (int64_t r = 0; r < tile.rows; ++r) {
    const int32_t sum = WeighRow(slot.scores + r * slot.keys, keys, slot.weights + r * slot.keys);
    shares[r] = sum > 0 ? 1 / static_cast<float>(sum) : kNan;
  }
  int64_t c = 0;
  for (; c + 4 * kLanes <= slot.columns; c += 4 * kLanes) ContextTile<4>(tile, shares, c);
  for (; c < slot.columns; c += kLanes) ContextTile<1>(tile, shares, c);
}

// The keys up to the last that the mask leaves in; all where it leaves none in.
int64_t VisibleKeys(const float* mask, int64_t keys) {
  int64_t visible = keys;
  while (visible > 0 && mask[visible - 1] <= kLeftOut) --visible;
  return visible > 0 ? visible : keys;
}

}  // namespace

Attention::Attention(const AttentionSpec& spec, int threads) : spec_(spec), threads_(threads) {
  Slot(spec_, nullptr, slot_bytes_);
}

void Attention::Run(const float* q, const float* k, const float* v, const float* mask, float* out,
                    std::byte* scratch) const {
  const AttentionSpec& spec = spec_;
  const int64_t items = spec.batch * spec.heads, threads = std::min<int64_t>(threads_, TeamSize());
  const auto run_head = [&](int64_t item, std::byte* memory) {
    size_t bytes;
    Slot slot(spec, memory, bytes);
    const int64_t b = item / spec.heads, h = item % spec.heads;
    const auto of = [&](auto* data, const HeadStrides& strides) {
      return data + b * strides.batch + h * strides.head;
    };
    const float* masks = mask == nullptr ? nullptr : mask + b * spec.mask.batch + h * spec.mask.head;
    Tile tile{.spec = spec, .slot = slot, .keys = spec.keys};
    if (masks != nullptr && spec.mask.query == 0) tile.keys = VisibleKeys(masks, spec.keys);
    const bool finite = PackKeys(of(k, spec.k), spec.k.position, tile.keys, spec.depth, slot);
    PackValues(of(v, spec.v), spec.v.position, tile.keys, spec.columns, slot);
    for (int64_t i = 0; i < spec.queries; i += kRows) {
      tile.rows = std::min(kRows, spec.queries - i);
      for (int64_t r = 0; r < kRows; ++r) {
        const int64_t row = i + std::min(r, tile.rows - 1);  // what fills a tile up is computed twice
        tile.query_scales[r] = PackQuery(of(q, spec.q) + row * spec.q.position, spec.depth, slot.depth,
                                         slot.query_bytes + r * slot.depth) *
                               (finite ? spec.scale : kNan);
        tile.masks[r] = masks == nullptr ? nullptr : masks + row * spec.mask.query;
        tile.out[r] = of(out, spec.out) + row * spec.out.position;
      }
      RunTile(tile);
    }
  };
  // One slot a thread: of as many ranges as threads each takes one.
  ParallelFor(threads, 1, [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t)
      for (int64_t item = items * t / threads; item < items * (t + 1) / threads; ++item)
        run_head(item, scratch + static_cast<size_t>(t) * slot_bytes_);
  });
}

}  // namespace hachi
