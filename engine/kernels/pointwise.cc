#include "engine/kernels/pointwise.h"

#include <algorithm>
#include <cstring>
#include <numeric>
#include <span>
#include <utility>

#include "engine/cpu/team.h"
#include "engine/kernels/fused_ops_vnni.h"
#include "engine/kernels/vnni.h"

namespace hachi {
namespace {

constexpr int64_t kLanes = 16;

// Where channel `c` of a block lies among its vectors' dwords: four are packed together to bytes, fewer, and
// real numbers, are stored one by one.
int64_t PlaceOf(int64_t c, int64_t vectors, DType to) {
  return vectors < 4 || to == DType::kF32 ? c : PlaceAmongFour(c);
}

struct Task {
  int64_t depth, channels;  // of the whole tensors: bytes from one pixel to the next, read and added
  int64_t stored_bytes;     // from one pixel to the next
  const int32_t* panel;
  const float *factor, *offset, *fused_factor;
  const FusedOps& fused;
  __mmask64 stored;  // channels of the block
  bool to_float, to_signed;
  int32_t lowest, highest;
  bool has_residual, residual_signed;
  float residual_factor;
};

template <int kVectors>
struct Vectors {
  __m512i v[kVectors];
};

// The residual's 16 × kVectors bytes as dwords in the block's order; s8 with 128 added.
template <int kVectors>
HACHI_VNNI_INLINE Vectors<kVectors> LoadResidual(const Task& task, const uint8_t* from) {
  Vectors<kVectors> wide;
  if constexpr (kVectors == 4) {
    __m512i bytes = _mm512_maskz_loadu_epi8(task.stored, from);
    if (task.residual_signed) bytes = _mm512_xor_si512(bytes, _mm512_set1_epi8(-128));
    const __m512i zero = _mm512_setzero_si512();
    const __m512i low = _mm512_unpacklo_epi8(bytes, zero), high = _mm512_unpackhi_epi8(bytes, zero);
    wide.v[0] = _mm512_unpacklo_epi16(low, zero);
    wide.v[1] = _mm512_unpackhi_epi16(low, zero);
    wide.v[2] = _mm512_unpacklo_epi16(high, zero);
    wide.v[3] = _mm512_unpackhi_epi16(high, zero);
  } else {
#pragma GCC unroll 4
    for (int q = 0; q < kVectors; ++q) {
      const auto mask = static_cast<__mmask16>(task.stored >> (kLanes * q));
      __m128i bytes = _mm_maskz_loadu_epi8(mask, from + kLanes * q);
      if (task.residual_signed) bytes = _mm_xor_si128(bytes, _mm_set1_epi8(-128));
      wide.v[q] = _mm512_cvtepu8_epi32(bytes);
    }
  }
  return wide;
}

template <int kVectors>
HACHI_VNNI_INLINE void Fuse(const Task& task, __m512 (&real)[kVectors]) {
  for (const PostOp& post_op : task.fused.post_ops) ApplyToVectors(post_op, real);
#pragma GCC unroll 4
  for (int q = 0; q < kVectors; ++q)
    real[q] = _mm512_fmadd_ps(real[q], _mm512_loadu_ps(task.fused_factor + kLanes * q),
                              _mm512_set1_ps(task.fused.zero_point));
}

template <int kVectors>
HACHI_VNNI_INLINE void Store(const Task& task, const Vectors<kVectors>& sums, const uint8_t* residual,
                             uint8_t* out) {
  __m512 real[kVectors];
  Vectors<kVectors> rounded, added;
  if (task.has_residual) added = LoadResidual<kVectors>(task, residual);
#pragma GCC unroll 4
  for (int q = 0; q < kVectors; ++q) {
    real[q] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(sums.v[q]), _mm512_loadu_ps(task.factor + kLanes * q),
                              _mm512_loadu_ps(task.offset + kLanes * q));
    if (task.has_residual)
      real[q] =
          _mm512_fmadd_ps(_mm512_cvtepi32_ps(added.v[q]), _mm512_set1_ps(task.residual_factor), real[q]);
  }
  if (!task.fused.post_ops.empty()) Fuse(task, real);
  if (task.to_float) {
#pragma GCC unroll 4
    for (int q = 0; q < kVectors; ++q)
      _mm512_mask_storeu_ps(out + 4 * kLanes * q, static_cast<__mmask16>(task.stored >> (kLanes * q)),
                            real[q]);
    return;
  }
#pragma GCC unroll 4
  for (int q = 0; q < kVectors; ++q) rounded.v[q] = _mm512_cvtps_epi32(real[q]);
  if constexpr (kVectors == 4) {
    _mm512_mask_storeu_epi8(out, task.stored,
                            PackBytes(rounded.v, task.to_signed, task.lowest, task.highest));
  } else {
#pragma GCC unroll 4
    for (int q = 0; q < kVectors; ++q) {
      const __m512i bounded = _mm512_min_epi32(_mm512_max_epi32(rounded.v[q], _mm512_set1_epi32(task.lowest)),
                                               _mm512_set1_epi32(task.highest));
      _mm_mask_storeu_epi8(out + kLanes * q, static_cast<__mmask16>(task.stored >> (kLanes * q)),
                           _mm512_cvtepi32_epi8(bounded));
    }
  }
}

// kPixels pixels of a block; their sums stay in registers over the whole depth.
template <int kVectors, int kPixels, bool kFromSigned>
HACHI_VNNI void Tile(const Task& task, const uint8_t* in, const uint8_t* residual, uint8_t* out) {
  Vectors<kVectors> sums[kPixels];
#pragma GCC unroll 16
  for (int p = 0; p < kPixels; ++p)
#pragma GCC unroll 4
    for (int q = 0; q < kVectors; ++q) sums[p].v[q] = _mm512_setzero_si512();
  const int32_t* panel = task.panel;
  for (int64_t k = 0; k < task.depth; k += 4, panel += kLanes * kVectors) {
    Vectors<kVectors> weights;
#pragma GCC unroll 4
    for (int q = 0; q < kVectors; ++q) weights.v[q] = _mm512_loadu_si512(panel + kLanes * q);
#pragma GCC unroll 16
    for (int p = 0; p < kPixels; ++p) {
      int32_t four;
      std::memcpy(&four, in + p * task.depth + k, sizeof four);
      __m512i pixel = _mm512_set1_epi32(four);
      if constexpr (kFromSigned) pixel = _mm512_xor_si512(pixel, _mm512_set1_epi8(-128));
#pragma GCC unroll 4
      for (int q = 0; q < kVectors; ++q)
        sums[p].v[q] = _mm512_dpbusd_epi32(sums[p].v[q], pixel, weights.v[q]);
    }
  }
#pragma GCC unroll 16
  for (int p = 0; p < kPixels; ++p)
    Store<kVectors>(task, sums[p], residual + p * task.channels, out + p * task.stored_bytes);
}

// All pixels of a range. The last tile reaches back over pixels that are done: the result doesn't overlap
// what is read.
template <int kVectors, int kPixels, bool kFromSigned>
void Tiles(const Task& task, const uint8_t* in, int64_t begin, int64_t end, const uint8_t* residual,
           uint8_t* out) {
  const auto tile = [&](auto run, int64_t p) {
    run(task, in + p * task.depth, residual + p * task.channels, out + p * task.stored_bytes);
  };
  if (end - begin < kPixels) {
    for (int64_t p = begin; p < end; ++p) tile(Tile<kVectors, 1, kFromSigned>, p);
    return;
  }
  for (int64_t p = begin; p < end; p += kPixels)
    tile(Tile<kVectors, kPixels, kFromSigned>, std::min(p, end - kPixels));
}

using TilesFunction = decltype(&Tiles<4, 6, false>);

// 24 sums and 4 weights, or as near as narrow blocks come: what 32 registers hold.
template <bool kFromSigned>
TilesFunction TilesOf(int64_t vectors) {
  switch (vectors) {
    case 1:
      return Tiles<1, 12, kFromSigned>;
    case 2:
      return Tiles<2, 12, kFromSigned>;
    case 3:
      return Tiles<3, 8, kFromSigned>;
    default:
      return Tiles<4, 6, kFromSigned>;
  }
}

}  // namespace

std::vector<Pointwise::Block> Pointwise::BlocksOf(const PointwiseSpec& spec) {
  constexpr int64_t kWidest = 64;
  std::vector<Block> blocks;
  size_t panel = 0, parameters = 0;
  for (int64_t first = 0; first < spec.channels; first += kWidest) {
    const int64_t channels = std::min(kWidest, spec.channels - first),
                  vectors = (channels + kLanes - 1) / kLanes;
    blocks.push_back({first, channels, vectors, panel, parameters});
    panel += static_cast<size_t>(spec.depth / 4 * vectors * kLanes);
    parameters += static_cast<size_t>(vectors * kLanes);
  }
  return blocks;
}

AlignedBuffer Pointwise::Pack(const PointwiseSpec& spec) {
  const std::vector<Block> blocks = BlocksOf(spec);
  const Block& last = blocks.back();
  AlignedBuffer packed((last.panel + static_cast<size_t>(spec.depth / 4 * last.vectors * kLanes)) *
                       sizeof(int32_t));
  auto* dwords = reinterpret_cast<int32_t*>(packed.data());
  for (const Block& block : blocks)
    for (int64_t c = 0; c < block.channels; ++c) {
      int32_t* to = dwords + block.panel + PlaceOf(c, block.vectors, spec.to);
      const int8_t* weights = spec.weights.data() + (block.first + c) * spec.depth;
      for (int64_t k = 0; k < spec.depth; k += 4, to += block.vectors * kLanes)
        std::memcpy(to, weights + k, 4);
    }
  return packed;
}

Pointwise::Pointwise(PointwiseSpec spec, std::shared_ptr<const AlignedBuffer> packed)
    : spec_(std::move(spec)), blocks_(BlocksOf(spec_)), panels_(std::move(packed)) {
  factor_.resize(blocks_.back().parameters + static_cast<size_t>(blocks_.back().vectors * kLanes));
  offset_.resize(factor_.size());
  if (!spec_.fused.post_ops.empty()) fused_factor_.resize(factor_.size());
  for (const Block& block : blocks_)
    for (int64_t c = 0; c < block.channels; ++c) {
      const size_t place = block.parameters + static_cast<size_t>(PlaceOf(c, block.vectors, spec_.to));
      const auto channel = static_cast<size_t>(block.first + c);
      factor_[place] = spec_.factor[channel];
      offset_[place] = spec_.offset[channel];
      if (!spec_.fused.post_ops.empty()) fused_factor_[place] = spec_.fused.factor[channel];
      // s8 is computed as u8 with 128 added.
      if (spec_.from == DType::kS8) {
        const auto weights =
            std::span(spec_.weights)
                .subspan(channel * static_cast<size_t>(spec_.depth), static_cast<size_t>(spec_.depth));
        offset_[place] -= 128.0f *
                          static_cast<float>(std::reduce(weights.begin(), weights.end(), int32_t{0})) *
                          spec_.factor[channel];
      }
      if (spec_.residual && spec_.residual->type == DType::kS8)
        offset_[place] -= 128.0f * spec_.residual->factor;
    }
  spec_.weights = {};
  spec_.factor = spec_.offset = spec_.fused.factor = {};
}

void Pointwise::Run(const std::byte* in, int64_t pixels, const std::byte* residual, std::byte* out) const {
  constexpr int64_t kPixels =
      48;  // of a unit of work: their bytes and a panel of weights fit the first cache
  constexpr int64_t kGrain = 1 << 20;  // multiply-adds worth waking the team for: some µs of one core
  const int64_t strips = (pixels + kPixels - 1) / kPixels;
  const auto blocks = static_cast<int64_t>(blocks_.size()),
             result_bytes = static_cast<int64_t>(SizeOf(spec_.to));
  const auto run_unit = [&](int64_t strip, const Block& block) {
    const Task task{.depth = spec_.depth,
                    .channels = spec_.channels,
                    .stored_bytes = spec_.channels * result_bytes,
                    .panel = reinterpret_cast<const int32_t*>(panels_->data()) + block.panel,
                    .factor = factor_.data() + block.parameters,
                    .offset = offset_.data() + block.parameters,
                    .fused_factor = fused_factor_.data() + (fused_factor_.empty() ? 0 : block.parameters),
                    .fused = spec_.fused,
                    .stored = block.channels == 64 ? ~__mmask64{0} : (__mmask64{1} << block.channels) - 1,
                    .to_float = spec_.to == DType::kF32,
                    .to_signed = spec_.to == DType::kS8,
                    .lowest = spec_.lowest,
                    .highest = spec_.highest,
                    .has_residual = spec_.residual.has_value(),
                    .residual_signed = spec_.residual && spec_.residual->type == DType::kS8,
                    .residual_factor = spec_.residual ? spec_.residual->factor : 0.0f};
    const TilesFunction tiles =
        spec_.from == DType::kS8 ? TilesOf<true>(block.vectors) : TilesOf<false>(block.vectors);
    const auto* from = reinterpret_cast<const uint8_t*>(in);
    const auto* added = residual == nullptr ? from : reinterpret_cast<const uint8_t*>(residual) + block.first;
    tiles(task, from, pixels * strip / strips, pixels * (strip + 1) / strips, added,
          reinterpret_cast<uint8_t*>(out) + block.first * result_bytes);
  };
  const int64_t unit_macs = kPixels * spec_.depth * std::min<int64_t>(spec_.channels, 64);
  ParallelFor(strips * blocks, kGrain / unit_macs + 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) run_unit(i / blocks, blocks_[static_cast<size_t>(i % blocks)]);
  });
}

}  // namespace hachi
