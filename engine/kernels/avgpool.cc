#include "engine/kernels/avgpool.h"

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <span>

#include "engine/cpu/team.h"
#include "engine/kernels/dispatch.h"
#include "engine/kernels/quantize.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "engine/kernels/avgpool.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace hachi {
namespace HWY_NAMESPACE {
namespace {
namespace hn = hwy::HWY_NAMESPACE;

// sums[c] = sum over pixels of in[p * stride + c] for c < channels.
template <typename T>
void SumPixels(const T* in, size_t pixels, size_t stride, size_t channels, int32_t* sums) {
  const hn::ScalableTag<int32_t> d;
  const hn::Rebind<T, decltype(d)> dt;
  const size_t lanes = hn::Lanes(d);
  const auto load = [&](const T* from) HWY_ATTR { return hn::PromoteTo(d, hn::LoadU(dt, from)); };
  size_t c = 0;
  for (; c + 4 * lanes <= channels; c += 4 * lanes) {
    auto s0 = hn::Zero(d), s1 = s0, s2 = s0, s3 = s0;
    const T* from = in + c;
    for (size_t p = 0; p < pixels; ++p, from += stride) {
      s0 = hn::Add(s0, load(from));
      s1 = hn::Add(s1, load(from + lanes));
      s2 = hn::Add(s2, load(from + 2 * lanes));
      s3 = hn::Add(s3, load(from + 3 * lanes));
    }
    hn::StoreU(s0, d, sums + c);
    hn::StoreU(s1, d, sums + c + lanes);
    hn::StoreU(s2, d, sums + c + 2 * lanes);
    hn::StoreU(s3, d, sums + c + 3 * lanes);
  }
  for (; c + lanes <= channels; c += lanes) {
    auto s = hn::Zero(d);
    for (size_t p = 0; p < pixels; ++p) s = hn::Add(s, load(in + p * stride + c));
    hn::StoreU(s, d, sums + c);
  }
  for (; c < channels; ++c) {
    int32_t s = 0;
    for (size_t p = 0; p < pixels; ++p) s += in[p * stride + c];
    sums[c] = s;
  }
}

void SumPixelsU8(const std::byte* in, size_t pixels, size_t stride, size_t channels, int32_t* sums) {
  SumPixels(reinterpret_cast<const uint8_t*>(in), pixels, stride, channels, sums);
}
void SumPixelsS8(const std::byte* in, size_t pixels, size_t stride, size_t channels, int32_t* sums) {
  SumPixels(reinterpret_cast<const int8_t*>(in), pixels, stride, channels, sums);
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace hachi
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace hachi {
namespace {

HWY_EXPORT(SumPixelsU8);
HWY_EXPORT(SumPixelsS8);

void Store(std::span<const float> means, const AvgPoolSpec& spec, std::byte* out) {
  if (spec.to == DType::kF32) {
    std::memcpy(out, means.data(), means.size_bytes());
    return;
  }
  const float scale = spec.to_quant.scale();
  const int32_t zero_point = spec.to_quant.zero_point();
  if (spec.to == DType::kU8)
    Quantize(means, scale, zero_point, std::span(reinterpret_cast<uint8_t*>(out), means.size()));
  else
    Quantize(means, scale, zero_point, std::span(reinterpret_cast<int8_t*>(out), means.size()));
}

}  // namespace

void GlobalAveragePool(const AvgPoolSpec& spec, int64_t rows, const std::byte* in, std::byte* out) {
  // Channels summed at a time, so that sums and means stay on the stack.
  constexpr int64_t kBlock = 256;
  // Bytes worth waking the team for: some µs of one core.
  constexpr int64_t kGrain = 1 << 16;
  const int64_t pixels = spec.pixels, channels = spec.channels;
  const int64_t blocks = (channels - 1) / kBlock + 1;
  const auto out_bytes = static_cast<int64_t>(SizeOf(spec.to));
  const int32_t offset = static_cast<int32_t>(pixels) * spec.from_quant.zero_point();
  const double divisor = static_cast<double>(pixels);
  const auto factor = static_cast<float>(static_cast<double>(spec.from_quant.scale()) / divisor);
  const auto sum_pixels = spec.from == DType::kU8 ? HACHI_DISPATCH(SumPixelsU8) : HACHI_DISPATCH(SumPixelsS8);
  const auto pool_block = [&](int64_t row, int64_t block) {
    alignas(64) int32_t sums[kBlock];
    alignas(64) float means[kBlock];
    const int64_t first = block * kBlock, count = std::min(kBlock, channels - first);
    sum_pixels(in + row * pixels * channels + first, static_cast<size_t>(pixels),
               static_cast<size_t>(channels), static_cast<size_t>(count), sums);
    for (int64_t c = 0; c < count; ++c) means[c] = static_cast<float>(sums[c] - offset) * factor;
    Store({means, static_cast<size_t>(count)}, spec, out + (row * channels + first) * out_bytes);
  };
  ParallelFor(rows * blocks, (kGrain - 1) / (pixels * std::min(channels, kBlock)) + 1,
              [&](int64_t begin, int64_t end) {
                for (int64_t i = begin; i < end; ++i) pool_block(i / blocks, i % blocks);
              });
}

}  // namespace hachi
#endif
