#include "engine/kernels/depthwise.h"

#include <algorithm>
#include <utility>

#include "engine/cpu/team.h"
#include "engine/kernels/vnni.h"

namespace hachi {
namespace {

// One row of outputs, one block of channels.
struct RowTask {
  const uint8_t* rows[3];  // of input, at the block's first channel; null: padding
  int64_t pixel_bytes;     // from one pixel to the next, of input and output
  int64_t width, out_width, pad_left;
  const int32_t (*weights)[64];
  const float *factor, *offset;
  uint8_t* out;
  __mmask64 channels;
  int32_t lowest, highest;
};

// Three rows of one column as dwords of four bytes (the last is 0), 16 channels a vector.
struct Column {
  __m512i v[4];
};
struct Sums {
  __m512i v[4];
};

HACHI_VNNI_INLINE __m512i LoadRow(const RowTask& task, int row, int64_t column) {
  if (task.rows[row] == nullptr) return _mm512_setzero_si512();
  return _mm512_maskz_loadu_epi8(task.channels, task.rows[row] + column * task.pixel_bytes);
}

HACHI_VNNI_INLINE Column LoadColumn(const RowTask& task, int64_t column) {
  const __m512i a = LoadRow(task, 0, column), b = LoadRow(task, 1, column), c = LoadRow(task, 2, column);
  const __m512i zero = _mm512_setzero_si512();
  const __m512i ab_low = _mm512_unpacklo_epi8(a, b), ab_high = _mm512_unpackhi_epi8(a, b);
  const __m512i c_low = _mm512_unpacklo_epi8(c, zero), c_high = _mm512_unpackhi_epi8(c, zero);
  return {{_mm512_unpacklo_epi16(ab_low, c_low), _mm512_unpackhi_epi16(ab_low, c_low),
           _mm512_unpacklo_epi16(ab_high, c_high), _mm512_unpackhi_epi16(ab_high, c_high)}};
}

HACHI_VNNI_INLINE void Add(const RowTask& task, int kernel_column, const Column& column, Sums& sums) {
#pragma GCC unroll 4
  for (int q = 0; q < 4; ++q)
    sums.v[q] =
        _mm512_dpbusd_epi32(sums.v[q], column.v[q], _mm512_load_si512(task.weights[kernel_column] + 16 * q));
}

HACHI_VNNI_INLINE Sums Zero() {
  const __m512i zero = _mm512_setzero_si512();
  return {{zero, zero, zero, zero}};
}

template <bool kSigned>
HACHI_VNNI_INLINE void Store(const RowTask& task, const Sums& sums, int64_t x) {
  __m512i rounded[4];
#pragma GCC unroll 4
  for (int q = 0; q < 4; ++q)
    rounded[q] = _mm512_cvtps_epi32(_mm512_fmadd_ps(_mm512_cvtepi32_ps(sums.v[q]),
                                                    _mm512_load_ps(task.factor + 16 * q),
                                                    _mm512_load_ps(task.offset + 16 * q)));
  const __m512i bytes = PackBytes(rounded, kSigned, task.lowest, task.highest);
  _mm512_mask_storeu_epi8(task.out + x * task.pixel_bytes, task.channels, bytes);
}

// Column c is the right one of output c + pad - 2, the middle one of the next and the left one of the one
// after.
template <bool kSigned>
HACHI_VNNI void RowOfStride1(const RowTask& task) {
  Sums right = Zero(), middle = Zero();
  const int64_t end = task.out_width - task.pad_left + 2;
  for (int64_t c = 0; c < end; ++c) {
    Sums left = Zero();
    if (c < task.width) {
      const Column column = LoadColumn(task, c);
      Add(task, 2, column, right);
      Add(task, 1, column, middle);
      Add(task, 0, column, left);
    }
    const int64_t x = c + task.pad_left - 2;
    if (x >= 0) Store<kSigned>(task, right, x);
    right = middle;
    middle = left;
  }
}

// Column 2x - pad + 2 is the right one of output x and the left one of the next.
template <bool kSigned>
HACHI_VNNI void RowOfStride2(const RowTask& task) {
  Sums sums = Zero();
  if (task.pad_left == 0) Add(task, 0, LoadColumn(task, 0), sums);
  for (int64_t x = 0; x < task.out_width; ++x) {
    const int64_t middle = 2 * x - task.pad_left + 1;
    if (middle < task.width) Add(task, 1, LoadColumn(task, middle), sums);
    Sums next = Zero();
    if (middle + 1 < task.width) {
      const Column column = LoadColumn(task, middle + 1);
      Add(task, 2, column, sums);
      Add(task, 0, column, next);
    }
    Store<kSigned>(task, sums, x);
    sums = next;
  }
}

}  // namespace

Depthwise::Depthwise(DepthwiseSpec spec) : spec_(std::move(spec)) {
  blocks_.resize(static_cast<size_t>((spec_.channels + kBlock - 1) / kBlock));
  for (int64_t c = 0; c < spec_.channels; ++c) {
    Block& block = blocks_[static_cast<size_t>(c / kBlock)];
    const auto place = static_cast<size_t>(PlaceAmongFour(c % kBlock));
    for (size_t column = 0; column < 3; ++column) {
      uint32_t packed = 0;
      for (size_t row = 0; row < 3; ++row)
        packed |= uint32_t{static_cast<uint8_t>(spec_.weights[static_cast<size_t>(c) * 9 + row * 3 + column])}
                  << (8 * row);
      block.weights[column][place] = static_cast<int32_t>(packed);
    }
    block.factor[place] = spec_.factor[static_cast<size_t>(c)];
    block.offset[place] = spec_.offset[static_cast<size_t>(c)];
  }
  spec_.weights = {};
  spec_.factor = spec_.offset = {};
}

void Depthwise::RunRow(const std::byte* in, int64_t image, int64_t row, std::byte* out) const {
  const int64_t first = row * spec_.stride - spec_.pad_top;
  for (size_t b = 0; b < blocks_.size(); ++b) {
    const Block& block = blocks_[b];
    const int64_t channel = static_cast<int64_t>(b) * kBlock;
    const int64_t channels = std::min(kBlock, spec_.channels - channel);
    RowTask task{.pixel_bytes = spec_.channels,
                 .width = spec_.width,
                 .out_width = spec_.out_width,
                 .pad_left = spec_.pad_left,
                 .weights = block.weights,
                 .factor = block.factor,
                 .offset = block.offset,
                 .out = reinterpret_cast<uint8_t*>(out) +
                        (image * spec_.out_height + row) * spec_.out_width * spec_.channels + channel,
                 .channels = channels == kBlock ? ~__mmask64{0} : (__mmask64{1} << channels) - 1,
                 .lowest = spec_.lowest,
                 .highest = spec_.highest};
    for (int64_t r = 0; r < 3; ++r) {
      const int64_t y = first + r;
      if (y >= 0 && y < spec_.height)
        task.rows[r] = reinterpret_cast<const uint8_t*>(in) +
                       (image * spec_.height + y) * spec_.width * spec_.channels + channel;
    }
    const bool is_signed = spec_.to == DType::kS8;
    if (spec_.stride == 1) {
      is_signed ? RowOfStride1<true>(task) : RowOfStride1<false>(task);
    } else {
      is_signed ? RowOfStride2<true>(task) : RowOfStride2<false>(task);
    }
  }
}

void Depthwise::Run(const std::byte* in, int64_t images, std::byte* out) const {
  // Outputs worth waking the team for: some µs of one core.
  constexpr int64_t kGrain = 1 << 15;
  ParallelFor(images * spec_.out_height, kGrain / (spec_.out_width * spec_.channels) + 1,
              [&](int64_t begin, int64_t end) {
                for (int64_t i = begin; i < end; ++i)
                  RunRow(in, i / spec_.out_height, i % spec_.out_height, out);
              });
}

}  // namespace hachi
