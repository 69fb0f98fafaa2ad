#include "engine/kernels/depthwise.h"

#include <algorithm>
#include <utility>

#include "engine/cpu/team.h"
#include "engine/kernels/vnni.h"

namespace hachi {
namespace {

// As many rows of outputs as fill the lanes, one block of channels.
struct RowsTask {
  const uint8_t* rows[4][3];  // of input, at the block's first channel; null: padding
  int64_t pixel_bytes;        // from one pixel to the next, of input and output
  int64_t width, out_width, pad_left;
  const int32_t (*weights)[64];
  const float *factor, *offset;
  uint8_t* out[4];  // null: a row that isn't there
  __mmask64 channels;
  int32_t lowest, highest;
};

// Three rows of one column as dwords of four bytes (the last is 0), 16 results a vector.
struct Column {
  __m512i v[4];
};
struct Sums {
  __m512i v[4];
};

// Row `tap` of what each row of outputs needs, side by side.
template <int kRows>
HACHI_VNNI_INLINE __m512i LoadRow(const RowsTask& task, int tap, int64_t column) {
  const auto at = [&](int row) { return task.rows[row][tap] + column * task.pixel_bytes; };
  if constexpr (kRows == 1) {
    if (task.rows[0][tap] == nullptr) return _mm512_setzero_si512();
    return _mm512_maskz_loadu_epi8(task.channels, at(0));
  } else if constexpr (kRows == 2) {
    const auto mask = static_cast<__mmask32>(task.channels);
    __m256i halves[2];
#pragma GCC unroll 2
    for (int i = 0; i < 2; ++i)
      halves[i] =
          task.rows[i][tap] == nullptr ? _mm256_setzero_si256() : _mm256_maskz_loadu_epi8(mask, at(i));
    return _mm512_inserti64x4(_mm512_castsi256_si512(halves[0]), halves[1], 1);
  } else {
    const auto mask = static_cast<__mmask16>(task.channels);
    __m128i quarters[4];
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i)
      quarters[i] = task.rows[i][tap] == nullptr ? _mm_setzero_si128() : _mm_maskz_loadu_epi8(mask, at(i));
    const __m256i low = _mm256_inserti128_si256(_mm256_castsi128_si256(quarters[0]), quarters[1], 1),
                  high = _mm256_inserti128_si256(_mm256_castsi128_si256(quarters[2]), quarters[3], 1);
    return _mm512_inserti64x4(_mm512_castsi256_si512(low), high, 1);
  }
}

template <int kRows>
HACHI_VNNI_INLINE void StoreRows(const RowsTask& task, __m512i bytes, int64_t x) {
  const int64_t at = x * task.pixel_bytes;
  if constexpr (kRows == 1) {
    _mm512_mask_storeu_epi8(task.out[0] + at, task.channels, bytes);
  } else if constexpr (kRows == 2) {
    const auto mask = static_cast<__mmask32>(task.channels);
    _mm256_mask_storeu_epi8(task.out[0] + at, mask, _mm512_castsi512_si256(bytes));
    if (task.out[1] != nullptr)
      _mm256_mask_storeu_epi8(task.out[1] + at, mask, _mm512_extracti64x4_epi64(bytes, 1));
  } else {
    const auto mask = static_cast<__mmask16>(task.channels);
    const __m256i low = _mm512_castsi512_si256(bytes), high = _mm512_extracti64x4_epi64(bytes, 1);
    const __m128i quarters[4] = {_mm256_castsi256_si128(low), _mm256_extracti128_si256(low, 1),
                                 _mm256_castsi256_si128(high), _mm256_extracti128_si256(high, 1)};
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i)
      if (task.out[i] != nullptr) _mm_mask_storeu_epi8(task.out[i] + at, mask, quarters[i]);
  }
}

template <int kRows>
HACHI_VNNI_INLINE Column LoadColumn(const RowsTask& task, int64_t column) {
  const __m512i a = LoadRow<kRows>(task, 0, column), b = LoadRow<kRows>(task, 1, column),
                c = LoadRow<kRows>(task, 2, column);
  const __m512i zero = _mm512_setzero_si512();
  const __m512i ab_low = _mm512_unpacklo_epi8(a, b), ab_high = _mm512_unpackhi_epi8(a, b);
  const __m512i c_low = _mm512_unpacklo_epi8(c, zero), c_high = _mm512_unpackhi_epi8(c, zero);
  return {{_mm512_unpacklo_epi16(ab_low, c_low), _mm512_unpackhi_epi16(ab_low, c_low),
           _mm512_unpacklo_epi16(ab_high, c_high), _mm512_unpackhi_epi16(ab_high, c_high)}};
}

HACHI_VNNI_INLINE void Add(const RowsTask& task, int kernel_column, const Column& column, Sums& sums) {
#pragma GCC unroll 4
  for (int q = 0; q < 4; ++q)
    sums.v[q] =
        _mm512_dpbusd_epi32(sums.v[q], column.v[q], _mm512_load_si512(task.weights[kernel_column] + 16 * q));
}

HACHI_VNNI_INLINE Sums Zero() {
  const __m512i zero = _mm512_setzero_si512();
  return {{zero, zero, zero, zero}};
}

template <int kRows, bool kSigned>
HACHI_VNNI_INLINE void Store(const RowsTask& task, const Sums& sums, int64_t x) {
  __m512i rounded[4];
#pragma GCC unroll 4
  for (int q = 0; q < 4; ++q)
    rounded[q] = _mm512_cvtps_epi32(_mm512_fmadd_ps(_mm512_cvtepi32_ps(sums.v[q]),
                                                    _mm512_load_ps(task.factor + 16 * q),
                                                    _mm512_load_ps(task.offset + 16 * q)));
  StoreRows<kRows>(task, PackBytes(rounded, kSigned, task.lowest, task.highest), x);
}

// Column c is the right one of output c + pad - 2, the middle one of the next and the left one of the one
// after.
template <int kRows, bool kSigned>
HACHI_VNNI void RowsOfStride1(const RowsTask& task) {
  Sums right = Zero(), middle = Zero();
  const int64_t end = task.out_width - task.pad_left + 2;
  for (int64_t c = 0; c < end; ++c) {
    Sums left = Zero();
    if (c < task.width) {
      const Column column = LoadColumn<kRows>(task, c);
      Add(task, 2, column, right);
      Add(task, 1, column, middle);
      Add(task, 0, column, left);
    }
    const int64_t x = c + task.pad_left - 2;
    if (x >= 0) Store<kRows, kSigned>(task, right, x);
    right = middle;
    middle = left;
  }
}

// Column 2x - pad + 2 is the right one of output x and the left one of the next.
template <int kRows, bool kSigned>
HACHI_VNNI void RowsOfStride2(const RowsTask& task) {
  Sums sums = Zero();
  if (task.pad_left == 0) Add(task, 0, LoadColumn<kRows>(task, 0), sums);
  for (int64_t x = 0; x < task.out_width; ++x) {
    const int64_t middle = 2 * x - task.pad_left + 1;
    if (middle < task.width) Add(task, 1, LoadColumn<kRows>(task, middle), sums);
    Sums next = Zero();
    if (middle + 1 < task.width) {
      const Column column = LoadColumn<kRows>(task, middle + 1);
      Add(task, 2, column, sums);
      Add(task, 0, column, next);
    }
    Store<kRows, kSigned>(task, sums, x);
    sums = next;
  }
}

template <int kRows>
void RunRows(const RowsTask& task, int64_t stride, bool to_signed) {
  if (stride == 1) {
    to_signed ? RowsOfStride1<kRows, true>(task) : RowsOfStride1<kRows, false>(task);
  } else {
    to_signed ? RowsOfStride2<kRows, true>(task) : RowsOfStride2<kRows, false>(task);
  }
}

}  // namespace

Depthwise::Depthwise(DepthwiseSpec spec) : spec_(std::move(spec)) {
  for (int64_t first = 0; first < spec_.channels; first += kLanes)
    AddBlock(first, std::min(kLanes, spec_.channels - first));
  spec_.weights = {};
  spec_.factor = spec_.offset = {};
}

void Depthwise::AddBlock(int64_t first, int64_t channels) {
  Block& block = blocks_.emplace_back();
  block.first = first;
  block.channels = channels;
  block.rows = channels > kLanes / 2 ? 1 : channels > kLanes / 4 ? 2 : 4;
  unit_rows_ = std::max<int64_t>(unit_rows_, block.rows);
  for (int64_t lane = 0; lane < kLanes; ++lane) {
    const int64_t of_row = lane % (kLanes / block.rows);
    if (of_row >= channels) continue;
    const auto c = static_cast<size_t>(first + of_row), place = static_cast<size_t>(PlaceAmongFour(lane));
    for (size_t column = 0; column < 3; ++column) {
      uint32_t packed = 0;
      for (size_t row = 0; row < 3; ++row)
        packed |= uint32_t{static_cast<uint8_t>(spec_.weights[c * 9 + row * 3 + column])} << (8 * row);
      block.weights[column][place] = static_cast<int32_t>(packed);
    }
    block.factor[place] = spec_.factor[c];
    block.offset[place] = spec_.offset[c];
  }
}

void Depthwise::RunBlock(const Block& block, const std::byte* in, int64_t image, int64_t row, int64_t rows,
                         std::byte* out) const {
  RowsTask task{.pixel_bytes = spec_.channels,
                .width = spec_.width,
                .out_width = spec_.out_width,
                .pad_left = spec_.pad_left,
                .weights = block.weights,
                .factor = block.factor,
                .offset = block.offset,
                .channels = block.channels == kLanes ? ~__mmask64{0} : (__mmask64{1} << block.channels) - 1,
                .lowest = spec_.lowest,
                .highest = spec_.highest};
  for (int64_t r = 0; r < rows; ++r) {
    task.out[r] = reinterpret_cast<uint8_t*>(out) +
                  (image * spec_.out_height + row + r) * spec_.out_width * spec_.channels + block.first;
    for (int64_t tap = 0; tap < 3; ++tap) {
      const int64_t y = (row + r) * spec_.stride - spec_.pad_top + tap;
      if (y >= 0 && y < spec_.height)
        task.rows[r][tap] = reinterpret_cast<const uint8_t*>(in) +
                            (image * spec_.height + y) * spec_.width * spec_.channels + block.first;
    }
  }
  const bool to_signed = spec_.to == DType::kS8;
  if (block.rows == 1) return RunRows<1>(task, spec_.stride, to_signed);
  if (block.rows == 2) return RunRows<2>(task, spec_.stride, to_signed);
  RunRows<4>(task, spec_.stride, to_signed);
}

void Depthwise::Run(const std::byte* in, int64_t images, std::byte* out) const {
  // Outputs worth waking the team for: some µs of one core.
  constexpr int64_t kGrain = 1 << 15;
  const int64_t units = (spec_.out_height + unit_rows_ - 1) / unit_rows_;  // of an image
  ParallelFor(images * units, kGrain / (unit_rows_ * spec_.out_width * spec_.channels) + 1,
              [&](int64_t begin, int64_t end) {
                for (int64_t i = begin; i < end; ++i) {
                  const int64_t first = i % units * unit_rows_,
                                last = std::min(first + unit_rows_, spec_.out_height);
                  for (const Block& block : blocks_)
                    for (int64_t row = first; row < last; row += block.rows)
                      RunBlock(block, in, i / units, row, std::min<int64_t>(block.rows, last - row), out);
                }
              });
}

}  // namespace hachi
