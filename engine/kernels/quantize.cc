#include "engine/kernels/quantize.h"

#include <algorithm>
#include <cstddef>
#include <limits>

#include "engine/cpu/team.h"
#include "engine/kernels/dispatch.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "engine/kernels/quantize.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace hachi {
namespace HWY_NAMESPACE {
namespace {
namespace hn = hwy::HWY_NAMESPACE;

// Elements times their factors (null: one), divided by the scale, or times it.
template <bool kMultiplies, typename Q>
void QuantizeRun(const float* in, const float* factors, size_t count, float scale, int32_t zero_point,
                 Q* out) {
  const hn::ScalableTag<float> d;
  const hn::Rebind<Q, decltype(d)> dq;
  const size_t lanes = hn::Lanes(d);
  const auto scales = hn::Set(d, scale);
  const auto zero = hn::Set(hn::RebindToSigned<decltype(d)>(), zero_point);
  // Bounds are whole numbers, so clamping before the rounding changes no result and keeps it within 32 bits.
  const auto lowest = hn::Set(d, static_cast<float>(std::numeric_limits<Q>::lowest() - zero_point));
  const auto highest = hn::Set(d, static_cast<float>(std::numeric_limits<Q>::max() - zero_point));
  const auto step = [&](const float* from, const float* factor, Q* to) HWY_ATTR {
    auto x = hn::LoadU(d, from);
    if (factor != nullptr) x = hn::Mul(x, hn::LoadU(d, factor));
    x = kMultiplies ? hn::Mul(x, scales) : hn::Div(x, scales);
    x = hn::IfThenElseZero(hn::Eq(x, x), x);
    const auto q = hn::NearestInt(hn::Min(hn::Max(x, lowest), highest));
    hn::StoreU(hn::DemoteTo(dq, hn::Add(q, zero)), dq, to);
  };
  size_t i = 0;
  for (; i + lanes <= count; i += lanes) step(in + i, factors == nullptr ? nullptr : factors + i, out + i);
  if (i == count) return;
  alignas(64) float last_in[HWY_MAX_BYTES / sizeof(float)] = {},
                                            last_factors[HWY_MAX_BYTES / sizeof(float)] = {};
  alignas(64) Q last_out[HWY_MAX_BYTES / sizeof(float)];
  std::copy(in + i, in + count, last_in);
  if (factors != nullptr) std::copy(factors + i, factors + count, last_factors);
  step(last_in, factors == nullptr ? nullptr : last_factors, last_out);
  std::copy(last_out, last_out + (count - i), out + i);
}

template <typename Q>
void DequantizeRun(const Q* in, size_t count, float scale, int32_t zero_point, float* out) {
  const hn::ScalableTag<float> d;
  const hn::RebindToSigned<decltype(d)> di;
  const hn::Rebind<Q, decltype(d)> dq;
  const size_t lanes = hn::Lanes(d);
  const auto factor = hn::Set(d, scale);
  const auto zero = hn::Set(di, zero_point);
  size_t i = 0;
  for (; i + lanes <= count; i += lanes) {
    const auto q = hn::Sub(hn::PromoteTo(di, hn::LoadU(dq, in + i)), zero);
    hn::StoreU(hn::Mul(hn::ConvertTo(d, q), factor), d, out + i);
  }
  for (; i < count; ++i) out[i] = static_cast<float>(in[i] - zero_point) * scale;
}

void QuantizeU8(const float* in, const float* factors, size_t n, float scale, int32_t zero_point,
                uint8_t* out) {
  QuantizeRun<false>(in, factors, n, scale, zero_point, out);
}
void QuantizeS8(const float* in, const float* factors, size_t n, float scale, int32_t zero_point,
                int8_t* out) {
  QuantizeRun<false>(in, factors, n, scale, zero_point, out);
}
void QuantizeU8By(const float* in, size_t n, float factor, int32_t zero_point, uint8_t* out) {
  QuantizeRun<true>(in, nullptr, n, factor, zero_point, out);
}
void QuantizeS8By(const float* in, size_t n, float factor, int32_t zero_point, int8_t* out) {
  QuantizeRun<true>(in, nullptr, n, factor, zero_point, out);
}
void DequantizeU8(const uint8_t* in, size_t n, float scale, int32_t zero_point, float* out) {
  DequantizeRun(in, n, scale, zero_point, out);
}
void DequantizeS8(const int8_t* in, size_t n, float scale, int32_t zero_point, float* out) {
  DequantizeRun(in, n, scale, zero_point, out);
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace hachi
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace hachi {
namespace {

HWY_EXPORT(QuantizeU8);
HWY_EXPORT(QuantizeS8);
HWY_EXPORT(QuantizeU8By);
HWY_EXPORT(QuantizeS8By);
HWY_EXPORT(DequantizeU8);
HWY_EXPORT(DequantizeS8);

// Elements worth waking the team for: about 5 µs of one core.
constexpr int64_t kGrain = 1 << 15;

template <typename In, typename Out, typename Kernel>
void InParallel(std::span<const In> in, std::span<Out> out, float scale, int32_t zero_point, Kernel kernel) {
  ParallelFor(static_cast<int64_t>(in.size()), kGrain, [&](int64_t begin, int64_t end) {
    kernel(in.data() + begin, static_cast<size_t>(end - begin), scale, zero_point, out.data() + begin);
  });
}

template <typename Q, typename Kernel>
void RowsInParallel(std::span<const float> in, std::span<const float> factors, float scale,
                    int32_t zero_point, std::span<Q> out, Kernel kernel) {
  if (factors.empty()) return;
  const auto length = static_cast<int64_t>(factors.size());
  ParallelFor(static_cast<int64_t>(in.size()) / length, kGrain / length + 1, [&](int64_t begin, int64_t end) {
    for (int64_t at = begin * length; at < end * length; at += length)
      kernel(in.data() + at, factors.data(), factors.size(), scale, zero_point, out.data() + at);
  });
}

}  // namespace

void Quantize(std::span<const float> in, float scale, int32_t zero_point, std::span<uint8_t> out) {
  InParallel(in, out, scale, zero_point,
             [kernel = HACHI_DISPATCH(QuantizeU8)](const float* from, auto... rest) {
               kernel(from, nullptr, rest...);
             });
}
void Quantize(std::span<const float> in, float scale, int32_t zero_point, std::span<int8_t> out) {
  InParallel(in, out, scale, zero_point,
             [kernel = HACHI_DISPATCH(QuantizeS8)](const float* from, auto... rest) {
               kernel(from, nullptr, rest...);
             });
}
void QuantizeBy(std::span<const float> in, float factor, int32_t zero_point, std::span<uint8_t> out) {
  InParallel(in, out, factor, zero_point, HACHI_DISPATCH(QuantizeU8By));
}
void QuantizeBy(std::span<const float> in, float factor, int32_t zero_point, std::span<int8_t> out) {
  InParallel(in, out, factor, zero_point, HACHI_DISPATCH(QuantizeS8By));
}
void QuantizeRows(std::span<const float> in, std::span<const float> factors, float scale, int32_t zero_point,
                  std::span<uint8_t> out) {
  RowsInParallel(in, factors, scale, zero_point, out, HACHI_DISPATCH(QuantizeU8));
}
void QuantizeRows(std::span<const float> in, std::span<const float> factors, float scale, int32_t zero_point,
                  std::span<int8_t> out) {
  RowsInParallel(in, factors, scale, zero_point, out, HACHI_DISPATCH(QuantizeS8));
}
void Dequantize(std::span<const uint8_t> in, float scale, int32_t zero_point, std::span<float> out) {
  InParallel(in, out, scale, zero_point, HACHI_DISPATCH(DequantizeU8));
}
void Dequantize(std::span<const int8_t> in, float scale, int32_t zero_point, std::span<float> out) {
  InParallel(in, out, scale, zero_point, HACHI_DISPATCH(DequantizeS8));
}

}  // namespace hachi
#endif
