#include "engine/kernels/depthwise.h"

#include <algorithm>
#include <utility>

#include "engine/cpu/team.h"
#include "engine/kernels/fused_ops_vnni.h"
#include "engine/kernels/vnni.h"

namespace hachi {
namespace {

constexpr int kMaxKernel = 5;

// As many rows of outputs as fill the lanes, one block of channels.
struct RowsTask {
  const uint8_t* rows[4][kMaxKernel];  // of input, at the block's first channel; null: padding
  int64_t pixel_bytes;                 // from one pixel to the next, of input and output
  int64_t width, out_width, pad_left;
  int32_t padding;  // the zero point in each byte
  const int32_t (*weights)[64];
  const float *factor, *offset, *fused_factor;
  const FusedOps& fused;
  uint8_t* out[4];  // null: a row that isn't there
  __mmask64 channels;
  bool to_signed;
  int32_t lowest, highest;
};

// So many instructions' products add up to a column's.
constexpr int PartsOf(int kernel) { return (kernel + 3) / 4; }

// Rows of one column as dwords of four bytes, rows 0 to 3 (of three, the last is 0) and row 4, 16 results a
// vector.
template <int kKernel>
struct Column {
  __m512i v[PartsOf(kKernel)][4];
};
struct Sums {
  __m512i v[4];
};

// Row `tap` of what each row of outputs needs, side by side.
template <int kRows>
HACHI_VNNI_INLINE __m512i LoadRow(const RowsTask& task, int tap, int64_t column) {
  const auto at = [&](int row) { return task.rows[row][tap] + column * task.pixel_bytes; };
  if constexpr (kRows == 1) {
    if (task.rows[0][tap] == nullptr) return _mm512_set1_epi32(task.padding);
    return _mm512_maskz_loadu_epi8(task.channels, at(0));
  } else if constexpr (kRows == 2) {
    const auto mask = static_cast<__mmask32>(task.channels);
    __m256i halves[2];
#pragma GCC unroll 2
    for (int i = 0; i < 2; ++i)
      halves[i] = task.rows[i][tap] == nullptr ? _mm256_set1_epi32(task.padding)
                                               : _mm256_maskz_loadu_epi8(mask, at(i));
    return _mm512_inserti64x4(_mm512_castsi256_si512(halves[0]), halves[1], 1);
  } else {
    const auto mask = static_cast<__mmask16>(task.channels);
    __m128i quarters[4];
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i)
      quarters[i] =
          task.rows[i][tap] == nullptr ? _mm_set1_epi32(task.padding) : _mm_maskz_loadu_epi8(mask, at(i));
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

// Four rows of bytes as dwords.
HACHI_VNNI_INLINE void Interleave(__m512i a, __m512i b, __m512i c, __m512i d, __m512i (&dwords)[4]) {
  const __m512i ab_low = _mm512_unpacklo_epi8(a, b), ab_high = _mm512_unpackhi_epi8(a, b);
  const __m512i cd_low = _mm512_unpacklo_epi8(c, d), cd_high = _mm512_unpackhi_epi8(c, d);
  dwords[0] = _mm512_unpacklo_epi16(ab_low, cd_low);
  dwords[1] = _mm512_unpackhi_epi16(ab_low, cd_low);
  dwords[2] = _mm512_unpacklo_epi16(ab_high, cd_high);
  dwords[3] = _mm512_unpackhi_epi16(ab_high, cd_high);
}

template <int kRows, int kKernel>
HACHI_VNNI_INLINE Column<kKernel> LoadColumn(const RowsTask& task, int64_t column) {
  Column<kKernel> loaded;
  const __m512i zero = _mm512_setzero_si512();
  Interleave(LoadRow<kRows>(task, 0, column), LoadRow<kRows>(task, 1, column),
             LoadRow<kRows>(task, 2, column), kKernel == 3 ? zero : LoadRow<kRows>(task, 3, column),
             loaded.v[0]);
  if constexpr (kKernel == 5) Interleave(LoadRow<kRows>(task, 4, column), zero, zero, zero, loaded.v[1]);
  return loaded;
}

template <int kKernel>
HACHI_VNNI_INLINE Column<kKernel> PaddingColumn(const RowsTask& task) {
  Column<kKernel> column;
#pragma GCC unroll 4
  for (int q = 0; q < 4; ++q) {
    column.v[0][q] = _mm512_set1_epi32(task.padding);
    if constexpr (kKernel == 5) column.v[1][q] = column.v[0][q];
  }
  return column;
}

// Adds the products of some dwords of a column.
HACHI_VNNI_INLINE void AddPart(const int32_t (&weights)[64], const __m512i (&dwords)[4], Sums& sums) {
#pragma GCC unroll 4
  for (int q = 0; q < 4; ++q)
    sums.v[q] = _mm512_dpbusd_epi32(sums.v[q], dwords[q], _mm512_load_si512(weights + 16 * q));
}

// Adds a column's products with column `tap` of the kernel.
template <int kKernel>
HACHI_VNNI_INLINE void Add(const RowsTask& task, int tap, const Column<kKernel>& column, Sums& sums) {
  AddPart(task.weights[tap], column.v[0], sums);
  if constexpr (kKernel == 5) AddPart(task.weights[kKernel + tap], column.v[1], sums);
}

HACHI_VNNI_INLINE Sums Zero() {
  const __m512i zero = _mm512_setzero_si512();
  return {{zero, zero, zero, zero}};
}

template <int kRows, bool kFuses>
HACHI_VNNI_INLINE void Store(const RowsTask& task, const Sums& sums, int64_t x) {
  __m512 real[4];
#pragma GCC unroll 4
  for (int q = 0; q < 4; ++q)
    real[q] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(sums.v[q]), _mm512_load_ps(task.factor + int64_t{16} * q),
                              _mm512_load_ps(task.offset + int64_t{16} * q));
  if constexpr (kFuses) {
    for (const PostOp& post_op : task.fused.post_ops) ApplyToVectors(post_op, real);
#pragma GCC unroll 4
    for (int q = 0; q < 4; ++q)
      real[q] = _mm512_fmadd_ps(real[q], _mm512_load_ps(task.fused_factor + int64_t{16} * q),
                                _mm512_set1_ps(task.fused.zero_point));
  }
  __m512i rounded[4];
#pragma GCC unroll 4
  for (int q = 0; q < 4; ++q) rounded[q] = _mm512_cvtps_epi32(real[q]);
  StoreRows<kRows>(task, PackBytes(rounded, task.to_signed, task.lowest, task.highest), x);
}

// A column of input goes into the sums of every output that it belongs to: of the first, whose column `tap`
// of the kernel it meets, and of the next ones.
template <int kRows, int kKernel, int kStride, int kInFlight>
HACHI_VNNI_INLINE void AddColumn(const RowsTask& task, int tap, int64_t column, Sums (&sums)[kInFlight]) {
  const bool outside = column < 0 || column >= task.width;
  if (outside && task.padding == 0) return;
  const Column<kKernel> loaded =
      outside ? PaddingColumn<kKernel>(task) : LoadColumn<kRows, kKernel>(task, column);
#pragma GCC unroll 5
  for (int i = 0; i < kInFlight; ++i)
    if (const int own = tap - i * kStride; own >= 0) Add<kKernel>(task, own, loaded, sums[i]);
}

template <int kRows, int kKernel, int kStride, bool kFuses>
HACHI_VNNI void RunRow(const RowsTask& task) {
  constexpr int kInFlight = (kKernel + kStride - 1) / kStride;
  Sums sums[kInFlight];
#pragma GCC unroll 5
  for (Sums& own : sums) own = Zero();
#pragma GCC unroll 5
  for (int tap = 0; tap < kKernel - kStride; ++tap)
    AddColumn<kRows, kKernel, kStride>(task, tap, tap - task.pad_left, sums);
  for (int64_t x = 0; x < task.out_width; ++x) {
#pragma GCC unroll 5
    for (int tap = kKernel - kStride; tap < kKernel; ++tap)
      AddColumn<kRows, kKernel, kStride>(task, tap, x * kStride + tap - task.pad_left, sums);
    Store<kRows, kFuses>(task, sums[0], x);
#pragma GCC unroll 5
    for (int i = 0; i + 1 < kInFlight; ++i) sums[i] = sums[i + 1];
    sums[kInFlight - 1] = Zero();
  }
}

template <int kRows, int kKernel, int kStride>
void RunEither(const RowsTask& task) {
  task.fused.post_ops.empty() ? RunRow<kRows, kKernel, kStride, false>(task)
                              : RunRow<kRows, kKernel, kStride, true>(task);
}

template <int kRows>
void RunRows(const RowsTask& task, int64_t kernel, int64_t stride) {
  if (kernel == 3) return stride == 1 ? RunEither<kRows, 3, 1>(task) : RunEither<kRows, 3, 2>(task);
  stride == 1 ? RunEither<kRows, 5, 1>(task) : RunEither<kRows, 5, 2>(task);
}

}  // namespace

Depthwise::Depthwise(DepthwiseSpec spec) : spec_(std::move(spec)) {
  for (int64_t first = 0; first < spec_.channels; first += kLanes)
    AddBlock(first, std::min(kLanes, spec_.channels - first));
  spec_.weights = {};
  spec_.factor = spec_.offset = spec_.fused.factor = {};
}

void Depthwise::AddBlock(int64_t first, int64_t channels) {
  Block& block = blocks_.emplace_back();  // all 0
  block.first = first;
  block.channels = channels;
  block.rows = channels > kLanes / 2 ? 1 : channels > kLanes / 4 ? 2 : 4;
  unit_rows_ = std::max<int64_t>(unit_rows_, block.rows);
  for (int64_t lane = 0; lane < kLanes; ++lane) {
    const int64_t of_row = lane % (kLanes / block.rows);
    if (of_row >= channels) continue;
    const auto c = static_cast<size_t>(first + of_row), place = static_cast<size_t>(PlaceAmongFour(lane));
    const auto kernel = static_cast<size_t>(spec_.kernel);
    for (size_t row = 0; row < kernel; ++row)
      for (size_t column = 0; column < kernel; ++column) {
        const auto weight = static_cast<uint8_t>(spec_.weights[(c * kernel + row) * kernel + column]);
        block.weights[row / 4 * kernel + column][place] |=
            static_cast<int32_t>(uint32_t{weight} << (row % 4 * 8));
      }
    block.factor[place] = spec_.factor[c];
    block.offset[place] = spec_.offset[c];
    if (!spec_.fused.post_ops.empty()) block.fused_factor[place] = spec_.fused.factor[c];
  }
}

void Depthwise::RunBlock(const Block& block, const std::byte* in, int64_t image, int64_t row, int64_t rows,
                         std::byte* out) const {
  RowsTask task{.pixel_bytes = spec_.channels,
                .width = spec_.width,
                .out_width = spec_.out_width,
                .pad_left = spec_.pad_left,
                .padding = spec_.zero_point * 0x01010101,
                .weights = block.weights,
                .factor = block.factor,
                .offset = block.offset,
                .fused_factor = block.fused_factor,
                .fused = spec_.fused,
                .channels = block.channels == kLanes ? ~__mmask64{0} : (__mmask64{1} << block.channels) - 1,
                .to_signed = spec_.to == DType::kS8,
                .lowest = spec_.lowest,
                .highest = spec_.highest};
  for (int64_t r = 0; r < rows; ++r) {
    task.out[r] = reinterpret_cast<uint8_t*>(out) +
                  (image * spec_.out_height + row + r) * spec_.out_width * spec_.channels + block.first;
    for (int64_t tap = 0; tap < spec_.kernel; ++tap) {
      const int64_t y = (row + r) * spec_.stride_y - spec_.pad_top + tap;
      if (y >= 0 && y < spec_.height)
        task.rows[r][tap] = reinterpret_cast<const uint8_t*>(in) +
                            (image * spec_.height + y) * spec_.width * spec_.channels + block.first;
    }
  }
  if (block.rows == 1) return RunRows<1>(task, spec_.kernel, spec_.stride_x);
  if (block.rows == 2) return RunRows<2>(task, spec_.kernel, spec_.stride_x);
  RunRows<4>(task, spec_.kernel, spec_.stride_x);
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
