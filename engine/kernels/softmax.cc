#include "engine/kernels/softmax.h"

#include <algorithm>
#include <cstddef>
#include <limits>

#include "engine/cpu/team.h"
#include "engine/kernels/dispatch.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "engine/kernels/softmax.cc"
// foreach_target comes first, and formatting would put the mathematics there.
// clang-format off
#include <hwy/foreach_target.h>
#include <hwy/highway.h>
#include <hwy/contrib/math/math-inl.h>
// clang-format on

HWY_BEFORE_NAMESPACE();
namespace hachi {
namespace HWY_NAMESPACE {
namespace {
namespace hn = hwy::HWY_NAMESPACE;

void SoftmaxRow(const float* in, size_t count, float* out) {
  const hn::ScalableTag<float> d;
  const size_t lanes = hn::Lanes(d);
  const size_t whole = count - count % lanes;
  // What does not fill a vector is worked on here, padded with what adds nothing to maximum and sum.
  constexpr size_t kMaxLanes = HWY_MAX_BYTES / sizeof(float);
  alignas(64) float last[kMaxLanes];
  std::fill(last, last + kMaxLanes, -std::numeric_limits<float>::infinity());
  std::copy(in + whole, in + count, last);

  auto max = hn::Load(d, last);
  for (size_t i = 0; i < whole; i += lanes) max = hn::Max(max, hn::LoadU(d, in + i));
  max = hn::MaxOfLanes(d, max);

  const auto exp = [&](const float* from) HWY_ATTR {
    const auto x = hn::Sub(hn::LoadU(d, from), max);
    // Exp makes NaN zero; here it shall stay.
    return hn::IfThenElse(hn::Eq(x, x), hn::Exp(d, x), x);
  };
  auto sum = hn::Zero(d);
  for (size_t i = 0; i < whole; i += lanes) {
    const auto e = exp(in + i);
    hn::StoreU(e, d, out + i);
    sum = hn::Add(sum, e);
  }
  if (whole < count) {
    const auto e = exp(last);
    hn::Store(e, d, last);
    sum = hn::Add(sum, e);
  }
  sum = hn::SumOfLanes(d, sum);

  for (size_t i = 0; i < whole; i += lanes) hn::StoreU(hn::Div(hn::LoadU(d, out + i), sum), d, out + i);
  hn::Store(hn::Div(hn::Load(d, last), sum), d, last);
  std::copy(last, last + (count - whole), out + whole);
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace hachi
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace hachi {
namespace {
HWY_EXPORT(SoftmaxRow);
}  // namespace

void Softmax(std::span<const float> in, int64_t row_length, std::span<float> out) {
  // Elements worth waking the team for: some µs of one core.
  constexpr int64_t kGrain = 1 << 13;
  const auto row = HACHI_DISPATCH(SoftmaxRow);
  const int64_t rows = static_cast<int64_t>(in.size()) / row_length;
  ParallelFor(rows, (kGrain - 1) / row_length + 1, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r)
      row(in.data() + r * row_length, static_cast<size_t>(row_length), out.data() + r * row_length);
  });
}

}  // namespace hachi
#endif
