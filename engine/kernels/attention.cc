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
  int64_t keys, depth, columns;  // padded to lanes
  float *mean = nullptr, *key_scales = nullptr, *value_scales = nullptr, *scores = nullptr;
  int32_t* key_offsets = nullptr;  // -128 times the sum of each key's integers
  int8_t* rows = nullptr;          // [depth / 16, 16, 16]: sixteen keys on their way to a panel
  int8_t* key_bytes = nullptr;     // [keys / 16, depth / 4, 16, 4]
  int8_t* value_bytes = nullptr;   // [columns / 16, keys / 4, 16, 4]
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
    take(key_offsets, keys);
    take(rows, kLanes * depth);
    take(key_bytes, keys * depth);
    take(value_bytes, keys * columns);
    take(query_bytes, kRows * depth);
    take(weights, kRows * keys);
  }
};

// Bits of magnitudes compare as integers, infinity and NaN above all numbers.
constexpr int32_t kMagnitude = 0x7FFFFFFF, kInfinity = 0x7F800000;

HACHI_VNNI_INLINE __m512i MagnitudeBits(__m512 x) {
  return _mm512_and_si512(_mm512_castps_si512(x), _mm512_set1_epi32(kMagnitude));
}

HACHI_VNNI_INLINE __m512i LargestOfTwo(__m512i a, __m512i b) {
  return _mm512_max_epu32(_mm512_unpacklo_epi32(a, b), _mm512_unpackhi_epi32(a, b));
}

// The largest of each of four vectors' lanes.
HACHI_VNNI_INLINE __m128i LargestOfFour(const __m512i (&bits)[kRows]) {
  const __m512i ab = LargestOfTwo(bits[0], bits[1]), cd = LargestOfTwo(bits[2], bits[3]);
  const __m512i four = _mm512_max_epu32(_mm512_unpacklo_epi64(ab, cd), _mm512_unpackhi_epi64(ab, cd));
  const __m256i half = _mm256_max_epu32(_mm512_castsi512_si256(four), _mm512_extracti64x4_epi64(four, 1));
  return _mm_max_epu32(_mm256_castsi256_si128(half), _mm256_extracti128_si256(half, 1));
}

// The scales that bring magnitudes to 127; NaN where one is not finite.
HACHI_VNNI_INLINE __m128 ScalesOf(__m128i bits) {
  const __m128 largest = _mm_castsi128_ps(bits);
  __m128 scales = _mm_mul_ps(largest, _mm_set1_ps(1.0f / 127));
  // Nothing to scale, or too little to divide by.
  scales =
      _mm_mask_blend_ps(_mm_cmp_ps_mask(scales, _mm_set1_ps(std::numeric_limits<float>::min()), _CMP_LT_OQ),
                        scales, _mm_set1_ps(1));
  return _mm_mask_blend_ps(_mm_cmpge_epu32_mask(bits, _mm_set1_epi32(kInfinity)), scales, _mm_set1_ps(kNan));
}

// Calls fn(d, lanes) for every sixteen of so many features.
template <typename Fn>
HACHI_VNNI_INLINE void OverLanes(int64_t count, const Fn& fn) {
  int64_t d = 0;
  for (; d + kLanes <= count; d += kLanes) fn(d, __mmask16{0xFFFF});
  if (d < count) fn(d, FirstOf(count - d));
}

HACHI_VNNI void FindMean(const float* k, int64_t stride, int64_t keys, int64_t depth, float* mean) {
  const __m512 share = _mm512_set1_ps(1 / static_cast<float>(keys));
  OverLanes(depth, [&](int64_t d, __mmask16 lanes) HACHI_VNNI {
    __m512 sums[4] = {};
    for (int64_t j = 0; j < keys; ++j)
      sums[j % 4] = _mm512_add_ps(sums[j % 4], _mm512_maskz_loadu_ps(lanes, k + j * stride + d));
    const __m512 sum = _mm512_add_ps(_mm512_add_ps(sums[0], sums[1]), _mm512_add_ps(sums[2], sums[3]));
    _mm512_store_ps(mean + d, _mm512_mul_ps(sum, share));
  });
}

// Sixteen keys of sixteen bytes each as four vectors, vector i of the keys' fours i.
HACHI_VNNI_INLINE void TransposeFours(const int8_t* rows, __m512i (&fours)[4]) {
  // Fours 0 and 1, then 2 and 3, of eight keys in two vectors.
  const __m512i first = _mm512_setr_epi32(0, 4, 8, 12, 16, 20, 24, 28, 1, 5, 9, 13, 17, 21, 25, 29);
  const __m512i second = _mm512_add_epi32(first, _mm512_set1_epi32(2));
  __m512i loaded[4];
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) loaded[i] = _mm512_load_si512(rows + i * 64);
#pragma GCC unroll 2
  for (int i = 0; i < 2; ++i) {
    const __m512i low = _mm512_permutex2var_epi32(loaded[0], i == 0 ? first : second, loaded[1]),
                  high = _mm512_permutex2var_epi32(loaded[2], i == 0 ? first : second, loaded[3]);
    fours[2 * i] = _mm512_shuffle_i64x2(low, high, 0x44);
    fours[2 * i + 1] = _mm512_shuffle_i64x2(low, high, 0xEE);
  }
}

// Quantizes four keys to slot.rows from the one at `place` on, and finds their scales.
HACHI_VNNI __m128 QuantizeKeys(const float* const (&k)[kRows], int64_t depth, int64_t place,
                               const Slot& slot) {
  __m512i most[kRows] = {};
  OverLanes(depth, [&](int64_t d, __mmask16 lanes) HACHI_VNNI {
    const __m512 mean = _mm512_load_ps(slot.mean + d);
#pragma GCC unroll 4
    for (int64_t r = 0; r < kRows; ++r) {
      const __m512 x = _mm512_maskz_sub_ps(lanes, _mm512_maskz_loadu_ps(lanes, k[r] + d), mean);
      most[r] = _mm512_max_epu32(most[r], MagnitudeBits(x));
    }
  });
  const __m128 scales = ScalesOf(LargestOfFour(most));
  alignas(16) float factors[kRows];
  _mm_store_ps(factors, _mm_div_ps(_mm_set1_ps(1), scales));
  OverLanes(depth, [&](int64_t d, __mmask16 lanes) HACHI_VNNI {
    const __m512 mean = _mm512_load_ps(slot.mean + d);
#pragma GCC unroll 4
    for (int64_t r = 0; r < kRows; ++r) {
      const __m512 x = _mm512_maskz_sub_ps(lanes, _mm512_maskz_loadu_ps(lanes, k[r] + d), mean);
      const __m512i integers = _mm512_cvtps_epi32(_mm512_mul_ps(x, _mm512_set1_ps(factors[r])));
      _mm_store_si128(reinterpret_cast<__m128i*>(slot.rows + (d + place + r) * kLanes),
                      _mm512_cvtsepi32_epi8(integers));
    }
  });
  return scales;
}

// Quantizes the keys; false: one holds what is not finite.
HACHI_VNNI bool PackKeys(const float* k, int64_t stride, int64_t keys, int64_t depth, const Slot& slot) {
  FindMean(k, stride, keys, depth, slot.mean);
  for (int64_t first = 0; first < keys; first += kLanes) {
    for (int64_t place = 0; place < kLanes; place += kRows) {
      const float* rows[kRows];
      for (int64_t r = 0; r < kRows; ++r) rows[r] = k + std::min(first + place + r, keys - 1) * stride;
      const __m128 scales = QuantizeKeys(rows, depth, place, slot);
      if (_mm_cmp_ps_mask(scales, scales, _CMP_UNORD_Q) != 0) return false;
      _mm_store_ps(slot.key_scales + first + place, scales);
    }
    int8_t* to = slot.key_bytes + first * slot.depth;
    __m512i sums = _mm512_setzero_si512();
    for (int64_t d = 0; d < slot.depth; d += kLanes) {
      __m512i fours[4];
      TransposeFours(slot.rows + d * kLanes, fours);
#pragma GCC unroll 4
      for (int i = 0; i < 4; ++i, to += 4 * kLanes) {
        sums = _mm512_dpbusd_epi32(sums, _mm512_set1_epi8(static_cast<char>(128)), fours[i]);
        _mm512_store_si512(to, fours[i]);
      }
    }
    _mm512_store_si512(slot.key_offsets + first, _mm512_sub_epi32(_mm512_setzero_si512(), sums));
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

// Four queries times `sign` as bytes around 128; their scales.
HACHI_VNNI __m128 PackQueries(const float* const (&q)[kRows], float sign, int64_t depth, const Slot& slot) {
  __m512i most[kRows] = {};
  OverLanes(depth, [&](int64_t d, __mmask16 lanes) HACHI_VNNI {
#pragma GCC unroll 4
    for (int64_t r = 0; r < kRows; ++r)
      most[r] = _mm512_max_epu32(most[r], MagnitudeBits(_mm512_maskz_loadu_ps(lanes, q[r] + d)));
  });
  const __m128 scales = ScalesOf(LargestOfFour(most));
  alignas(16) float factors[kRows];
  _mm_store_ps(factors, _mm_div_ps(_mm_set1_ps(sign), scales));
  OverLanes(depth, [&](int64_t d, __mmask16 lanes) HACHI_VNNI {
#pragma GCC unroll 4
    for (int64_t r = 0; r < kRows; ++r) {
      const __m512 x = _mm512_fmadd_ps(_mm512_maskz_loadu_ps(lanes, q[r] + d), _mm512_set1_ps(factors[r]),
                                       _mm512_set1_ps(128));
      _mm_store_si128(reinterpret_cast<__m128i*>(slot.query_bytes + r * slot.depth + d),
                      _mm512_cvtusepi32_epi8(_mm512_cvtps_epi32(x)));
    }
  });
  return scales;
}

// Adds to `sums` kRows rows of bytes, `stride` apart, times kPanels panels, each `panel_bytes` long, over
// `fours` fours.
template <int kPanels>
HACHI_VNNI_INLINE void AddTile(const uint8_t* rows, int64_t stride, const int8_t* panels, int64_t panel_bytes,
                               int64_t fours, __m512i (&sums)[kRows][kPanels]) {
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

// What a tile knows of its rows.
struct Tile {
  const AttentionSpec& spec;
  const Slot& slot;
  int64_t keys;               // that are computed
  int64_t rows;               // at most kRows
  float factors[kRows];       // of products and keys' scales to scores; NaN: the row is spoilt
  const float* masks[kRows];  // of its rows; null: none
  float* out[kRows];
};

constexpr float kLog2E = 1.44269504f;
constexpr float kLog2Of255 = 7.99435344f;

// Writes scores, masked; without a mask what is still to be multiplied by the row's factor. `most` is the
// largest by lane, NaN aside.
template <int kPanels, bool kMasked>
HACHI_VNNI_INLINE void ScoreTile(const Tile& tile, int64_t first, __m512 (&most)[kRows]) {
  const Slot& slot = tile.slot;
  __m512i sums[kRows][kPanels];
#pragma GCC unroll 4
  for (int p = 0; p < kPanels; ++p)
#pragma GCC unroll 4
    for (int r = 0; r < kRows; ++r) sums[r][p] = _mm512_load_si512(slot.key_offsets + first + p * kLanes);
  AddTile<kPanels>(slot.query_bytes, slot.depth, slot.key_bytes + first * slot.depth, kLanes * slot.depth,
                   slot.depth / 4, sums);
#pragma GCC unroll 4
  for (int p = 0; p < kPanels; ++p) {
    const int64_t j = first + p * kLanes;
    const __m512 scale = _mm512_load_ps(slot.key_scales + j);
    const __mmask16 lanes = kPanels == 1 ? FirstOf(tile.keys - j) : __mmask16{0xFFFF};
#pragma GCC unroll 4
    for (int r = 0; r < kRows; ++r) {
      __m512 score = _mm512_mul_ps(_mm512_cvtepi32_ps(sums[r][p]), scale);
      if constexpr (kMasked)
        score = _mm512_fmadd_ps(score, _mm512_set1_ps(tile.factors[r]),
                                _mm512_maskz_loadu_ps(lanes, tile.masks[r] + j));
      if constexpr (kPanels == 1) score = _mm512_mask_blend_ps(lanes, _mm512_set1_ps(-INFINITY), score);
      most[r] = _mm512_max_ps(score, most[r]);
      _mm512_store_ps(slot.scores + r * slot.keys + j, score);
    }
  }
}

// 2^x, next to nothing below 2^-64: a cubic of what lies above the next lower integer, within 7.5e-5. NaN of
// NaN.
HACHI_VNNI_INLINE __m512 Exp2(__m512 x) {
  x = _mm512_max_ps(_mm512_set1_ps(-64), x);
  const __m512 r = _mm512_reduce_ps(x, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC);
  __m512 p = _mm512_fmadd_ps(r, _mm512_set1_ps(0.07802455f), _mm512_set1_ps(0.22606719f));
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(0.6958335f));
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(0.99992526f));
  return _mm512_scalef_ps(p, x);
}

// The row's scores, `factor` times what is written, as bytes of 255 times 2^(score - largest), and their
// sum; 0: the row has no answer.
HACHI_VNNI_INLINE int32_t WeighRow(const float* scores, int64_t keys, float factor, __m512 most,
                                   uint8_t* weights) {
  const float largest = _mm512_reduce_max_ps(most) * factor;
  if (!std::isfinite(largest)) return 0;
  const __m512 factors = _mm512_set1_ps(factor), offset = _mm512_set1_ps(kLog2Of255 - largest);
  const auto weigh = [&](int64_t j) HACHI_VNNI {  // negative of NaN
    return _mm512_cvtps_epi32(Exp2(_mm512_fmadd_ps(_mm512_load_ps(scores + j), factors, offset)));
  };
  const __m512i in_order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
  __m512i sums = _mm512_setzero_si512(), signs = _mm512_setzero_si512();
  int64_t j = 0;
  for (; j + 4 * kLanes <= keys; j += 4 * kLanes) {
    const __m512i four[] = {weigh(j), weigh(j + kLanes), weigh(j + 2 * kLanes), weigh(j + 3 * kLanes)};
    signs = _mm512_or_si512(_mm512_or_si512(signs, _mm512_or_si512(four[0], four[1])),
                            _mm512_or_si512(four[2], four[3]));
    const __m512i bytes =
        _mm512_packus_epi16(_mm512_packs_epi32(four[0], four[1]), _mm512_packs_epi32(four[2], four[3]));
    sums = _mm512_dpbusd_epi32(sums, bytes, _mm512_set1_epi8(1));
    _mm512_storeu_si512(weights + j, _mm512_permutexvar_epi32(in_order, bytes));
  }
  for (; j < keys; j += kLanes) {
    const __m512i integers = weigh(j);
    signs = _mm512_or_si512(signs, integers);
    sums = _mm512_add_epi32(sums, integers);
    _mm_store_si128(reinterpret_cast<__m128i*>(weights + j), _mm512_cvtusepi32_epi8(integers));
  }
  return _mm512_movepi32_mask(signs) != 0 ? 0 : _mm512_reduce_add_epi32(sums);
}

template <int kPanels>
HACHI_VNNI_INLINE void ContextTile(const Tile& tile, const float (&shares)[kRows], int64_t first) {
  const Slot& slot = tile.slot;
  __m512i sums[kRows][kPanels] = {};
  AddTile<kPanels>(slot.weights, slot.keys, slot.value_bytes + first * slot.keys, kLanes * slot.keys,
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

template <bool kMasked>
HACHI_VNNI void RunTile(const Tile& tile) {
  const Slot& slot = tile.slot;
  const int64_t keys = Up(tile.keys, kLanes);
  __m512 most[kRows];
  for (__m512& row : most) row = _mm512_set1_ps(-INFINITY);
  int64_t j = 0;
  for (; j + 4 * kLanes <= tile.keys; j += 4 * kLanes) ScoreTile<4, kMasked>(tile, j, most);
  for (; j < keys; j += kLanes) ScoreTile<1, kMasked>(tile, j, most);
  float shares[kRows] = {};
  for (int64_t r = 0; r < tile.rows; ++r) {
    const float factor = kMasked ? kLog2E : tile.factors[r] * kLog2E;
    const int32_t sum =
        WeighRow(slot.scores + r * slot.keys, keys, factor, most[r], slot.weights + r * slot.keys);
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
    if (masks != nullptr && spec.mask.query == 0) {
      tile.keys = VisibleKeys(masks, spec.keys);
      if (std::all_of(masks, masks + tile.keys, [](float x) { return x == 0; })) masks = nullptr;
    }
    const bool finite = PackKeys(of(k, spec.k), spec.k.position, tile.keys, spec.depth, slot);
    PackValues(of(v, spec.v), spec.v.position, tile.keys, spec.columns, slot);
    for (int64_t i = 0; i < spec.queries; i += kRows) {
      tile.rows = std::min(kRows, spec.queries - i);
      const float* queries[kRows];
      for (int64_t r = 0; r < kRows; ++r) {
        const int64_t row = i + std::min(r, tile.rows - 1);  // what fills a tile up is computed twice
        queries[r] = of(q, spec.q) + row * spec.q.position;
        tile.masks[r] = masks == nullptr ? nullptr : masks + row * spec.mask.query;
        tile.out[r] = of(out, spec.out) + row * spec.out.position;
      }
      const __m128 scales = PackQueries(queries, std::copysign(1.0f, spec.scale), spec.depth, slot);
      for (int64_t r = 0; r < kRows; ++r)
        tile.factors[r] = scales[r] * (finite ? std::abs(spec.scale) : kNan);
      if (masks == nullptr)
        RunTile<false>(tile);
      else
        RunTile<true>(tile);
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
