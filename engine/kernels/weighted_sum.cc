#include "engine/kernels/weighted_sum.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "engine/kernels/dispatch.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "engine/kernels/weighted_sum.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace hachi {
namespace HWY_NAMESPACE {
namespace {
namespace hn = hwy::HWY_NAMESPACE;

template <typename T>
void SumOfBytes(const T* in, const WeightedVector* terms, size_t term_count, T* out, size_t count) {
  const hn::ScalableTag<float> d;
  const hn::RebindToSigned<decltype(d)> di;
  const hn::Rebind<T, decltype(d)> db;
  const size_t lanes = hn::Lanes(d);
  size_t i = 0;
  for (; i + lanes <= count; i += lanes) {
    auto sum = hn::Zero(d);
    for (size_t t = 0; t < term_count; ++t) {
      const auto x = hn::ConvertTo(d, hn::PromoteTo(di, hn::LoadU(db, in + terms[t].offset + i)));
      sum = hn::MulAdd(hn::Set(d, terms[t].weight), x, sum);
    }
    hn::StoreU(hn::DemoteTo(db, hn::NearestInt(sum)), db, out + i);
  }
  for (; i < count; ++i) {
    float sum = 0;
    for (size_t t = 0; t < term_count; ++t)
      sum += terms[t].weight * static_cast<float>(in[terms[t].offset + static_cast<int64_t>(i)]);
    const float lowest = std::numeric_limits<T>::lowest(), highest = std::numeric_limits<T>::max();
    out[i] = static_cast<T>(std::clamp(std::nearbyint(sum), lowest, highest));
  }
}

void SumOfU8(const uint8_t* in, const WeightedVector* terms, size_t term_count, uint8_t* out, size_t count) {
  SumOfBytes(in, terms, term_count, out, count);
}

void SumOfS8(const int8_t* in, const WeightedVector* terms, size_t term_count, int8_t* out, size_t count) {
  SumOfBytes(in, terms, term_count, out, count);
}

void SumOfTerms(const float* in, const WeightedVector* terms, size_t term_count, float* out, size_t count) {
  const hn::ScalableTag<float> d;
  const size_t lanes = hn::Lanes(d);
  size_t i = 0;
  for (; i + lanes <= count; i += lanes) {
    auto sum = hn::Zero(d);
    for (size_t t = 0; t < term_count; ++t)
      sum = hn::MulAdd(hn::Set(d, terms[t].weight), hn::LoadU(d, in + terms[t].offset + i), sum);
    hn::StoreU(sum, d, out + i);
  }
  for (; i < count; ++i) {
    float sum = 0;
    for (size_t t = 0; t < term_count; ++t)
      sum += terms[t].weight * in[terms[t].offset + static_cast<int64_t>(i)];
    out[i] = sum;
  }
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace hachi
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace hachi {
namespace {
HWY_EXPORT(SumOfTerms);
HWY_EXPORT(SumOfU8);
HWY_EXPORT(SumOfS8);
}  // namespace

void WeightedSum(const float* in, std::span<const WeightedVector> terms, std::span<float> out) {
  HACHI_DISPATCH(SumOfTerms)(in, terms.data(), terms.size(), out.data(), out.size());
}

void WeightedSum(const uint8_t* in, std::span<const WeightedVector> terms, std::span<uint8_t> out) {
  HACHI_DISPATCH(SumOfU8)(in, terms.data(), terms.size(), out.data(), out.size());
}

void WeightedSum(const int8_t* in, std::span<const WeightedVector> terms, std::span<int8_t> out) {
  HACHI_DISPATCH(SumOfS8)(in, terms.data(), terms.size(), out.data(), out.size());
}

}  // namespace hachi
#endif
