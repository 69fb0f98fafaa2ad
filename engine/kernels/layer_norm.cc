#include "engine/kernels/layer_norm.h"

#include <cmath>
#include <limits>

#include "engine/cpu/team.h"
#include "engine/kernels/dispatch.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "engine/kernels/layer_norm.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#ifndef HACHI_KERNELS_LAYER_NORM_ROW
#define HACHI_KERNELS_LAYER_NORM_ROW
namespace hachi {
namespace {

struct LayerNormRow {
  size_t length;
  float epsilon;
  const float *gain, *shift;
  int32_t zero_point;
};

}  // namespace
}  // namespace hachi
#endif

HWY_BEFORE_NAMESPACE();
namespace hachi {
namespace HWY_NAMESPACE {
namespace {
namespace hn = hwy::HWY_NAMESPACE;

template <class D>
hn::Vec<D> LoadReals(D d, const float* from) {
  return hn::LoadU(d, from);
}
template <class D, typename Q>
hn::Vec<D> LoadReals(D d, const Q* from) {
  const hn::RebindToSigned<D> di;
  return hn::ConvertTo(d, hn::PromoteTo(di, hn::LoadU(hn::Rebind<Q, D>(), from)));
}

template <class D>
void StoreReals(D d, hn::Vec<D> x, int32_t /*zero_point*/, float* to) {
  hn::StoreU(x, d, to);
}
template <class D, typename Q>
void StoreReals(D d, hn::Vec<D> x, int32_t zero_point, Q* to) {
  const hn::RebindToSigned<D> di;
  const hn::Rebind<Q, D> dq;
  // Bounds are whole numbers, so clamping before the rounding changes no result and keeps it within 32 bits.
  const auto lowest = hn::Set(d, static_cast<float>(std::numeric_limits<Q>::lowest() - zero_point));
  const auto highest = hn::Set(d, static_cast<float>(std::numeric_limits<Q>::max() - zero_point));
  x = hn::IfThenElseZero(hn::Eq(x, x), x);
  const auto q = hn::NearestInt(hn::Min(hn::Max(x, lowest), highest));
  hn::StoreU(hn::DemoteTo(dq, hn::Add(q, hn::Set(di, zero_point))), dq, to);
}

inline void StoreReal(float x, int32_t /*zero_point*/, float* to) { *to = x; }
template <typename Q>
void StoreReal(float x, int32_t zero_point, Q* to) {
  *to = QuantizeValue<Q>(x, 1.0f, zero_point);
}

template <typename From, typename To>
void Normalize(const LayerNormRow& row, const From* in, To* out) {
  const hn::ScalableTag<float> d;
  const size_t lanes = hn::Lanes(d), count = row.length;
  const auto size = static_cast<float>(count);
  // Sums in two vectors, of pairs of elements.
  const auto sum_of = [&](const auto& each, const auto& each_alone) HWY_ATTR {
    auto s0 = hn::Zero(d), s1 = s0;
    size_t i = 0;
    for (; i + 2 * lanes <= count; i += 2 * lanes) {
      s0 = each(s0, LoadReals(d, in + i));
      s1 = each(s1, LoadReals(d, in + i + lanes));
    }
    for (; i + lanes <= count; i += lanes) s0 = each(s0, LoadReals(d, in + i));
    float sum = hn::GetLane(hn::SumOfLanes(d, hn::Add(s0, s1)));
    for (; i < count; ++i) sum = each_alone(sum, static_cast<float>(in[i]));
    return sum;
  };
  const float mean = sum_of([](auto sum, auto x) HWY_ATTR { return hn::Add(sum, x); },
                            [](float sum, float x) { return sum + x; }) /
                     size;
  const auto means = hn::Set(d, mean);
  const float variance = sum_of(
                             [means](auto sum, auto x) HWY_ATTR {
                               const auto centred = hn::Sub(x, means);
                               return hn::MulAdd(centred, centred, sum);
                             },
                             [mean](float sum, float x) { return sum + (x - mean) * (x - mean); }) /
                         size;
  const float factor = 1.0f / std::sqrt(variance + row.epsilon);
  const auto factors = hn::Set(d, factor);
  size_t i = 0;
  for (; i + lanes <= count; i += lanes) {
    const auto normal = hn::Mul(hn::Sub(LoadReals(d, in + i), means), factors);
    const auto y = hn::MulAdd(normal, hn::LoadU(d, row.gain + i), hn::LoadU(d, row.shift + i));
    StoreReals(d, y, row.zero_point, out + i);
  }
  for (; i < count; ++i)
    StoreReal((static_cast<float>(in[i]) - mean) * factor * row.gain[i] + row.shift[i], row.zero_point,
              out + i);
}

template <typename From>
void NormalizeRows(const LayerNormRow& row, DType to, const From* in, int64_t rows, std::byte* out) {
  const auto length = static_cast<int64_t>(row.length);
  for (int64_t r = 0; r < rows; ++r, in += length) {
    if (to == DType::kF32)
      Normalize(row, in, reinterpret_cast<float*>(out) + r * length);
    else if (to == DType::kU8)
      Normalize(row, in, reinterpret_cast<uint8_t*>(out) + r * length);
    else
      Normalize(row, in, reinterpret_cast<int8_t*>(out) + r * length);
  }
}

void NormalizeF32(const LayerNormRow& row, DType to, const std::byte* in, int64_t rows, std::byte* out) {
  NormalizeRows(row, to, reinterpret_cast<const float*>(in), rows, out);
}
void NormalizeU8(const LayerNormRow& row, DType to, const std::byte* in, int64_t rows, std::byte* out) {
  NormalizeRows(row, to, reinterpret_cast<const uint8_t*>(in), rows, out);
}
void NormalizeS8(const LayerNormRow& row, DType to, const std::byte* in, int64_t rows, std::byte* out) {
  NormalizeRows(row, to, reinterpret_cast<const int8_t*>(in), rows, out);
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace hachi
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace hachi {
namespace {
HWY_EXPORT(NormalizeF32);
HWY_EXPORT(NormalizeU8);
HWY_EXPORT(NormalizeS8);
}  // namespace

// Integers are normalised as they are: their zero point falls out with the mean, their scale s with the
// deviation, but for epsilon, which becomes epsilon / s². Results are made in steps of the output's scale.
LayerNorm::LayerNorm(const LayerNormSpec& spec)
    : row_length_(spec.row_length),
      from_(spec.from),
      to_(spec.to),
      epsilon_(spec.epsilon),
      gain_(spec.scale),
      shift_(spec.bias) {
  if (from_ != DType::kF32) epsilon_ /= spec.from_quant.scale() * spec.from_quant.scale();
  if (to_ == DType::kF32) return;
  zero_point_ = spec.to_quant.zero_point();
  for (float& gain : gain_) gain /= spec.to_quant.scale();
  for (float& shift : shift_) shift /= spec.to_quant.scale();
}

void LayerNorm::Run(const std::byte* in, int64_t rows, std::byte* out) const {
  // Elements worth waking the team for: some µs of one core.
  constexpr int64_t kGrain = 1 << 14;
  const LayerNormRow row{static_cast<size_t>(row_length_), epsilon_, gain_.data(), shift_.data(),
                         zero_point_};
  const auto normalize = from_ == DType::kF32  ? HACHI_DISPATCH(NormalizeF32)
                         : from_ == DType::kU8 ? HACHI_DISPATCH(NormalizeU8)
                                               : HACHI_DISPATCH(NormalizeS8);
  const auto in_bytes = row_length_ * static_cast<int64_t>(SizeOf(from_));
  const auto out_bytes = row_length_ * static_cast<int64_t>(SizeOf(to_));
  ParallelFor(rows, (kGrain - 1) / row_length_ + 1, [&](int64_t begin, int64_t end) {
    normalize(row, to_, in + begin * in_bytes, end - begin, out + begin * out_bytes);
  });
}

}  // namespace hachi
#endif
