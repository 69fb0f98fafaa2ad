#include "engine/kernels/bf16.h"

#include <cstddef>

#include "engine/cpu/team.h"
#include "engine/kernels/dispatch.h"
#include "engine/tensor/half.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "engine/kernels/bf16.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace hachi {
namespace HWY_NAMESPACE {
namespace {
namespace hn = hwy::HWY_NAMESPACE;

void Narrow(const float* in, size_t count, uint16_t* out) {
  const hn::ScalableTag<float> d;
  const hn::RebindToUnsigned<decltype(d)> du;
  const hn::RebindToSigned<decltype(d)> di;
  const hn::Rebind<uint16_t, decltype(d)> d16;
  const size_t lanes = hn::Lanes(d);
  size_t i = 0;
  for (; i + lanes <= count; i += lanes) {
    const auto x = hn::LoadU(d, in + i);
    const auto bits = hn::BitCast(du, x);
    const auto upper = hn::ShiftRight<16>(bits);
    const auto rounded =
        hn::ShiftRight<16>(hn::Add(hn::Add(bits, hn::Set(du, 0x7FFF)), hn::And(upper, hn::Set(du, 1))));
    const auto quiet = hn::Or(upper, hn::Set(du, 0x40));
    const auto kept = hn::IfThenElse(hn::RebindMask(du, hn::Eq(x, x)), rounded, quiet);
    hn::StoreU(hn::DemoteTo(d16, hn::BitCast(di, kept)), d16, out + i);
  }
  for (; i < count; ++i) out[i] = Bf16OfFloat(in[i]);
}

void Widen(const uint16_t* in, size_t count, float* out) {
  const hn::ScalableTag<float> d;
  const hn::RebindToUnsigned<decltype(d)> du;
  const hn::Rebind<uint16_t, decltype(d)> d16;
  const size_t lanes = hn::Lanes(d);
  size_t i = 0;
  for (; i + lanes <= count; i += lanes)
    hn::StoreU(hn::BitCast(d, hn::ShiftLeft<16>(hn::PromoteTo(du, hn::LoadU(d16, in + i)))), d, out + i);
  for (; i < count; ++i) out[i] = FloatOfBf16(in[i]);
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace hachi
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace hachi {
namespace {

HWY_EXPORT(Narrow);
HWY_EXPORT(Widen);

constexpr int64_t kGrain = 1 << 15;  // elements worth waking the team for: about 5 µs of one core

}  // namespace

void ToBf16(std::span<const float> in, std::span<uint16_t> out) {
  const auto kernel = HACHI_DISPATCH(Narrow);
  ParallelFor(static_cast<int64_t>(in.size()), kGrain, [&](int64_t begin, int64_t end) {
    kernel(in.data() + begin, static_cast<size_t>(end - begin), out.data() + begin);
  });
}

void FromBf16(std::span<const uint16_t> in, std::span<float> out) {
  const auto kernel = HACHI_DISPATCH(Widen);
  ParallelFor(static_cast<int64_t>(in.size()), kGrain, [&](int64_t begin, int64_t end) {
    kernel(in.data() + begin, static_cast<size_t>(end - begin), out.data() + begin);
  });
}

}  // namespace hachi
#endif
