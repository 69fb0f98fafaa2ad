#include "engine/kernels/combine.h"

#include <cstddef>

#include "engine/kernels/dispatch.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "engine/kernels/combine.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace hachi {
namespace HWY_NAMESPACE {
namespace {
namespace hn = hwy::HWY_NAMESPACE;

template <class Function>
void Combine(float* a, const float* b, size_t count, const Function& function) {
  const hn::ScalableTag<float> d;
  const size_t lanes = hn::Lanes(d);
  size_t i = 0;
  for (; i + lanes <= count; i += lanes)
    hn::StoreU(function(hn::LoadU(d, a + i), hn::LoadU(d, b + i)), d, a + i);
  if (i == count) return;
  const auto rest = hn::FirstN(d, count - i);
  hn::BlendedStore(function(hn::MaskedLoad(rest, d, a + i), hn::MaskedLoad(rest, d, b + i)), rest, d, a + i);
}

void Add(float* a, const float* b, size_t count) {
  Combine(a, b, count, [](auto x, auto y) HWY_ATTR { return hn::Add(x, y); });
}
void Subtract(float* a, const float* b, size_t count) {
  Combine(a, b, count, [](auto x, auto y) HWY_ATTR { return hn::Sub(x, y); });
}
void Multiply(float* a, const float* b, size_t count) {
  Combine(a, b, count, [](auto x, auto y) HWY_ATTR { return hn::Mul(x, y); });
}
void Divide(float* a, const float* b, size_t count) {
  Combine(a, b, count, [](auto x, auto y) HWY_ATTR { return hn::Div(x, y); });
}
void Larger(float* a, const float* b, size_t count) {
  Combine(a, b, count, [](auto x, auto y) HWY_ATTR { return hn::IfThenElse(hn::Lt(x, y), y, x); });
}
void Smaller(float* a, const float* b, size_t count) {
  Combine(a, b, count, [](auto x, auto y) HWY_ATTR { return hn::IfThenElse(hn::Lt(y, x), y, x); });
}
void Negatives(float* a, const float* b, size_t count) {
  Combine(a, b, count, [](auto x, auto y) HWY_ATTR {
    const hn::DFromV<decltype(x)> d;
    return hn::IfThenElse(hn::Lt(x, hn::Zero(d)), hn::Mul(x, y), x);
  });
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace hachi
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace hachi {
namespace {
HWY_EXPORT(Add);
HWY_EXPORT(Subtract);
HWY_EXPORT(Multiply);
HWY_EXPORT(Divide);
HWY_EXPORT(Larger);
HWY_EXPORT(Smaller);
HWY_EXPORT(Negatives);
}  // namespace

void AddFloats(std::span<float> a, std::span<const float> b) {
  HACHI_DISPATCH(Add)(a.data(), b.data(), a.size());
}
void SubtractFloats(std::span<float> a, std::span<const float> b) {
  HACHI_DISPATCH(Subtract)(a.data(), b.data(), a.size());
}
void MultiplyFloats(std::span<float> a, std::span<const float> b) {
  HACHI_DISPATCH(Multiply)(a.data(), b.data(), a.size());
}
void DivideFloats(std::span<float> a, std::span<const float> b) {
  HACHI_DISPATCH(Divide)(a.data(), b.data(), a.size());
}
void TakeLarger(std::span<float> a, std::span<const float> b) {
  HACHI_DISPATCH(Larger)(a.data(), b.data(), a.size());
}
void TakeSmaller(std::span<float> a, std::span<const float> b) {
  HACHI_DISPATCH(Smaller)(a.data(), b.data(), a.size());
}
void ScaleNegatives(std::span<float> a, std::span<const float> b) {
  HACHI_DISPATCH(Negatives)(a.data(), b.data(), a.size());
}

}  // namespace hachi
#endif
