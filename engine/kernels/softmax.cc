#include "engine/kernels/softmax.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>

#include "engine/cpu/team.h"
#include "engine/kernels/dispatch.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "engine/kernels/softmax.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace hachi {
namespace HWY_NAMESPACE {
namespace {
namespace hn = hwy::HWY_NAMESPACE;

// e^x for x that are not positive, to 3e-7; 0 below the smallest normal number. NaN stays NaN.
template <class D, class V>
V ExpOfNegative(D d, V x) {
  const hn::RebindToSigned<D> di;
  // x = n log(2) + r, log(2) as the sum of a short number, whose multiples are exact, and the rest.
  const auto n = hn::Round(hn::Mul(x, hn::Set(d, 1.44269504f)));
  auto r = hn::NegMulAdd(n, hn::Set(d, 0.693359375f), x);
  r = hn::NegMulAdd(n, hn::Set(d, -2.12194440e-4f), r);
  // 1 + r + r² P(r), fitted with equal relative errors (1.1e-7) for |r| up to log(2) / 2.
  auto p = hn::Set(d, 0.008312520571053028f);
  p = hn::MulAdd(p, r, hn::Set(d, 0.04189015552401543f));
  p = hn::MulAdd(p, r, hn::Set(d, 0.16667114198207855f));
  p = hn::MulAdd(p, r, hn::Set(d, 0.499992311000824f));
  const auto one = hn::Set(d, 1.0f);
  const auto y = hn::MulAdd(p, hn::Mul(r, r), hn::Add(r, one));
  const auto power = hn::ShiftLeft<23>(hn::Add(hn::ConvertTo(di, n), hn::Set(di, 127)));
  return hn::IfThenElse(hn::Lt(x, hn::Set(d, -87.3f)), hn::Zero(d), hn::Mul(y, hn::BitCast(d, power)));
}

void SoftmaxRow(const float* in, size_t count, float* out) {
  const hn::ScalableTag<float> d;
  const size_t lanes = hn::Lanes(d);
  const size_t whole = count - count % lanes;
  // What does not fill a vector is worked on here, padded with what adds nothing to maximum and sum.
  constexpr size_t kMaxLanes = HWY_MAX_BYTES / sizeof(float);
  alignas(64) float last[kMaxLanes];
  std::fill(last, last + kMaxLanes, -std::numeric_limits<float>::infinity());
  std::copy(in + whole, in + count, last);

  // Two of everything, so that one need not wait for the other.
  auto max = hn::Load(d, last), max1 = max;
  size_t i = 0;
  for (; i + 2 * lanes <= whole; i += 2 * lanes) {
    max = hn::Max(max, hn::LoadU(d, in + i));
    max1 = hn::Max(max1, hn::LoadU(d, in + i + lanes));
  }
  if (i < whole) max = hn::Max(max, hn::LoadU(d, in + i));
  max = hn::MaxOfLanes(d, hn::Max(max, max1));

  auto sum = hn::Zero(d), sum1 = sum;
  for (i = 0; i + 2 * lanes <= whole; i += 2 * lanes) {
    const auto e = ExpOfNegative(d, hn::Sub(hn::LoadU(d, in + i), max));
    const auto e1 = ExpOfNegative(d, hn::Sub(hn::LoadU(d, in + i + lanes), max));
    hn::StoreU(e, d, out + i);
    hn::StoreU(e1, d, out + i + lanes);
    sum = hn::Add(sum, e);
    sum1 = hn::Add(sum1, e1);
  }
  if (i < whole) {
    const auto e = ExpOfNegative(d, hn::Sub(hn::LoadU(d, in + i), max));
    hn::StoreU(e, d, out + i);
    sum = hn::Add(sum, e);
  }
  if (whole < count) {
    const auto e = ExpOfNegative(d, hn::Sub(hn::Load(d, last), max));
    hn::Store(e, d, last);
    sum1 = hn::Add(sum1, e);
  }
  const auto factor = hn::Div(hn::Set(d, 1.0f), hn::SumOfLanes(d, hn::Add(sum, sum1)));

  for (i = 0; i < whole; i += lanes) hn::StoreU(hn::Mul(hn::LoadU(d, out + i), factor), d, out + i);
  if (whole == count) return;
  hn::Store(hn::Mul(hn::Load(d, last), factor), d, last);
  std::copy(last, last + (count - whole), out + whole);
}

// Rows of at most kMostColumns elements: a vector has one of each of as many rows as there are lanes.
constexpr size_t kMostColumns = 8;

void SoftmaxShortRows(const float* in, size_t rows, size_t columns, float* out) {
  const hn::ScalableTag<float> d;
  const size_t lanes = hn::Lanes(d);
  constexpr size_t kMaxLanes = HWY_MAX_BYTES / sizeof(float);
  alignas(64) float elements[kMostColumns * kMaxLanes] = {};
  for (size_t first = 0; first < rows; first += lanes) {
    const size_t count = std::min(lanes, rows - first);
    for (size_t r = 0; r < count; ++r)
      for (size_t c = 0; c < columns; ++c) elements[c * lanes + r] = in[(first + r) * columns + c];
    auto max = hn::Load(d, elements);
    for (size_t c = 1; c < columns; ++c) max = hn::Max(max, hn::Load(d, elements + c * lanes));
    auto sum = hn::Zero(d);
    for (size_t c = 0; c < columns; ++c) {
      const auto e = ExpOfNegative(d, hn::Sub(hn::Load(d, elements + c * lanes), max));
      hn::Store(e, d, elements + c * lanes);
      sum = hn::Add(sum, e);
    }
    const auto factor = hn::Div(hn::Set(d, 1.0f), sum);
    for (size_t c = 0; c < columns; ++c)
      hn::Store(hn::Mul(hn::Load(d, elements + c * lanes), factor), d, elements + c * lanes);
    for (size_t r = 0; r < count; ++r)
      for (size_t c = 0; c < columns; ++c) out[(first + r) * columns + c] = elements[c * lanes + r];
  }
}

void SoftmaxRows(const float* in, size_t rows, size_t columns, float* out) {
  if (columns <= kMostColumns) return SoftmaxShortRows(in, rows, columns, out);
  for (size_t r = 0; r < rows; ++r) SoftmaxRow(in + r * columns, columns, out + r * columns);
}

void LogSoftmaxRow(const float* in, size_t count, float* out) {
  const hn::ScalableTag<float> d;
  const size_t lanes = hn::Lanes(d), whole = count - count % lanes;
  float largest = -std::numeric_limits<float>::infinity();
  auto max = hn::Set(d, largest);
  for (size_t i = 0; i < whole; i += lanes) max = hn::Max(max, hn::LoadU(d, in + i));
  largest = hn::GetLane(hn::MaxOfLanes(d, max));
  for (size_t i = whole; i < count; ++i) largest = in[i] > largest ? in[i] : largest;
  max = hn::Set(d, largest);
  auto sums = hn::Zero(d);
  for (size_t i = 0; i < whole; i += lanes)
    sums = hn::Add(sums, ExpOfNegative(d, hn::Sub(hn::LoadU(d, in + i), max)));
  float sum = hn::GetLane(hn::SumOfLanes(d, sums));
  for (size_t i = whole; i < count; ++i) sum += std::exp(in[i] - largest);
  const float log = std::log(sum);
  for (size_t i = 0; i < whole; i += lanes)
    hn::StoreU(hn::Sub(hn::Sub(hn::LoadU(d, in + i), max), hn::Set(d, log)), d, out + i);
  for (size_t i = whole; i < count; ++i) out[i] = in[i] - largest - log;
}

void LogSoftmaxRows(const float* in, size_t rows, size_t columns, float* out) {
  for (size_t r = 0; r < rows; ++r) LogSoftmaxRow(in + r * columns, columns, out + r * columns);
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace hachi
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace hachi {
namespace {
HWY_EXPORT(SoftmaxRows);
HWY_EXPORT(LogSoftmaxRows);
}  // namespace

namespace {

using Rows = void (*)(const float* in, size_t rows, size_t columns, float* out);

void OnTeam(Rows function, std::span<const float> in, int64_t row_length, std::span<float> out) {
  // Elements worth waking the team for: some µs of one core.
  constexpr int64_t kGrain = 1 << 13;
  const int64_t rows = static_cast<int64_t>(in.size()) / row_length;
  ParallelFor(rows, (kGrain - 1) / row_length + 1, [&](int64_t begin, int64_t end) {
    function(in.data() + begin * row_length, static_cast<size_t>(end - begin),
             static_cast<size_t>(row_length), out.data() + begin * row_length);
  });
}

}  // namespace

void Softmax(std::span<const float> in, int64_t row_length, std::span<float> out) {
  OnTeam(HACHI_DISPATCH(SoftmaxRows), in, row_length, out);
}

void LogSoftmax(std::span<const float> in, int64_t row_length, std::span<float> out) {
  OnTeam(HACHI_DISPATCH(LogSoftmaxRows), in, row_length, out);
}

}  // namespace hachi
#endif
