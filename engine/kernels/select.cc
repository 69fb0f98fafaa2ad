#include "engine/kernels/select.h"

#include "engine/kernels/dispatch.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "engine/kernels/select.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace hachi {
namespace HWY_NAMESPACE {
namespace {
namespace hn = hwy::HWY_NAMESPACE;

void SelectRun(const bool* condition, const uint32_t* a, bool a_repeats, const uint32_t* b, bool b_repeats,
               size_t count, uint32_t* out) {
  const hn::ScalableTag<uint32_t> d;
  const hn::Rebind<uint8_t, decltype(d)> d8;
  const size_t lanes = hn::Lanes(d);
  const auto zero = hn::Zero(d);
  const auto* bytes = reinterpret_cast<const uint8_t*>(condition);
  size_t i = 0;
  for (; i + lanes <= count; i += lanes) {
    const auto from_a = a_repeats ? hn::Set(d, *a) : hn::LoadU(d, a + i);
    const auto from_b = b_repeats ? hn::Set(d, *b) : hn::LoadU(d, b + i);
    const auto is_false = hn::Eq(hn::PromoteTo(d, hn::LoadU(d8, bytes + i)), zero);
    hn::StoreU(hn::IfThenElse(is_false, from_b, from_a), d, out + i);
  }
  for (; i < count; ++i) out[i] = condition[i] ? a[a_repeats ? 0 : i] : b[b_repeats ? 0 : i];
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace hachi
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace hachi {
namespace {
HWY_EXPORT(SelectRun);
}  // namespace

void Select(const bool* condition, SelectSource a, SelectSource b, size_t count, uint32_t* out) {
  HACHI_DISPATCH(SelectRun)(condition, a.data, a.repeats, b.data, b.repeats, count, out);
}

}  // namespace hachi
#endif
