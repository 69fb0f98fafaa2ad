#include "engine/kernels/reduce.h"

#include <algorithm>
#include <cstddef>
#include <limits>

#include "engine/cpu/team.h"
#include "engine/kernels/dispatch.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "engine/kernels/reduce.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace hachi {
namespace HWY_NAMESPACE {
namespace {
namespace hn = hwy::HWY_NAMESPACE;

struct Add {
  static constexpr float kStart = 0.0f;
  template <class V>
  static V Join(V a, V b) {
    return hn::Add(a, b);
  }
  template <class D, class V>
  static float OfLanes(D d, V v) {
    return hn::GetLane(hn::SumOfLanes(d, v));
  }
  static float Join(float a, float b) { return a + b; }
};

struct Max {
  static constexpr float kStart = -std::numeric_limits<float>::infinity();
  template <class V>
  static V Join(V a, V b) {
    return hn::Max(a, b);
  }
  template <class D, class V>
  static float OfLanes(D d, V v) {
    return hn::GetLane(hn::MaxOfLanes(d, v));
  }
  static float Join(float a, float b) { return a < b ? b : a; }
};

// Four vectors at a time: as many as an addition takes cycles.
template <class Op>
float ReduceRow(const float* in, size_t count) {
  const hn::ScalableTag<float> d;
  const size_t lanes = hn::Lanes(d);
  auto r0 = hn::Set(d, Op::kStart), r1 = r0, r2 = r0, r3 = r0;
  size_t i = 0;
  for (; i + 4 * lanes <= count; i += 4 * lanes) {
    r0 = Op::Join(r0, hn::LoadU(d, in + i));
    r1 = Op::Join(r1, hn::LoadU(d, in + i + lanes));
    r2 = Op::Join(r2, hn::LoadU(d, in + i + 2 * lanes));
    r3 = Op::Join(r3, hn::LoadU(d, in + i + 3 * lanes));
  }
  for (; i + lanes <= count; i += lanes) r0 = Op::Join(r0, hn::LoadU(d, in + i));
  float result = Op::OfLanes(d, Op::Join(Op::Join(r0, r1), Op::Join(r2, r3)));
  for (; i < count; ++i) result = Op::Join(result, in[i]);
  return result;
}

// out[c] for c < columns over `length` rows that are `stride` apart.
template <class Op>
void ReduceColumns(const float* in, size_t length, size_t stride, size_t columns, float factor, float* out) {
  const hn::ScalableTag<float> d;
  const size_t lanes = hn::Lanes(d);
  const auto factors = hn::Set(d, factor);
  size_t c = 0;
  for (; c + 4 * lanes <= columns; c += 4 * lanes) {
    auto r0 = hn::Set(d, Op::kStart), r1 = r0, r2 = r0, r3 = r0;
    const float* from = in + c;
    for (size_t k = 0; k < length; ++k, from += stride) {
      r0 = Op::Join(r0, hn::LoadU(d, from));
      r1 = Op::Join(r1, hn::LoadU(d, from + lanes));
      r2 = Op::Join(r2, hn::LoadU(d, from + 2 * lanes));
      r3 = Op::Join(r3, hn::LoadU(d, from + 3 * lanes));
    }
    hn::StoreU(hn::Mul(r0, factors), d, out + c);
    hn::StoreU(hn::Mul(r1, factors), d, out + c + lanes);
    hn::StoreU(hn::Mul(r2, factors), d, out + c + 2 * lanes);
    hn::StoreU(hn::Mul(r3, factors), d, out + c + 3 * lanes);
  }
  for (; c + lanes <= columns; c += lanes) {
    auto r = hn::Set(d, Op::kStart);
    for (size_t k = 0; k < length; ++k) r = Op::Join(r, hn::LoadU(d, in + k * stride + c));
    hn::StoreU(hn::Mul(r, factors), d, out + c);
  }
  for (; c < columns; ++c) {
    float r = Op::kStart;
    for (size_t k = 0; k < length; ++k) r = Op::Join(r, in[k * stride + c]);
    out[c] = r * factor;
  }
}

float SumRow(const float* in, size_t count) { return ReduceRow<Add>(in, count); }
float MaxRow(const float* in, size_t count) { return ReduceRow<Max>(in, count); }
void SumColumns(const float* in, size_t length, size_t stride, size_t columns, float factor, float* out) {
  ReduceColumns<Add>(in, length, stride, columns, factor, out);
}
void MaxColumns(const float* in, size_t length, size_t stride, size_t columns, float factor, float* out) {
  ReduceColumns<Max>(in, length, stride, columns, factor, out);
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace hachi
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace hachi {
namespace {
HWY_EXPORT(SumRow);
HWY_EXPORT(MaxRow);
HWY_EXPORT(SumColumns);
HWY_EXPORT(MaxColumns);
}  // namespace

void Reduce(Reduction reduction, std::span<const float> in, int64_t length, int64_t inner,
            std::span<float> out) {
  // Elements worth waking the team for: some µs of one core.
  constexpr int64_t kGrain = 1 << 14;
  // Columns that one thread takes at a time: four vectors of 16.
  constexpr int64_t kBlock = 64;
  const bool max = reduction == Reduction::kMax;
  const float factor =
      reduction == Reduction::kMean ? static_cast<float>(1.0 / static_cast<double>(length)) : 1.0f;
  if (inner == 1) {
    const auto row = max ? HACHI_DISPATCH(MaxRow) : HACHI_DISPATCH(SumRow);
    const int64_t rows = static_cast<int64_t>(in.size()) / length;
    ParallelFor(rows, (kGrain - 1) / length + 1, [&](int64_t begin, int64_t end) {
      for (int64_t r = begin; r < end; ++r)
        out[r] = row(in.data() + r * length, static_cast<size_t>(length)) * factor;
    });
    return;
  }
  const auto columns = max ? HACHI_DISPATCH(MaxColumns) : HACHI_DISPATCH(SumColumns);
  const int64_t outer = static_cast<int64_t>(in.size()) / (length * inner), blocks = (inner - 1) / kBlock + 1;
  ParallelFor(outer * blocks, (kGrain - 1) / (length * std::min(inner, kBlock)) + 1,
              [&](int64_t begin, int64_t end) {
                for (int64_t i = begin; i < end; ++i) {
                  const int64_t o = i / blocks, first = i % blocks * kBlock;
                  columns(in.data() + o * length * inner + first, static_cast<size_t>(length),
                          static_cast<size_t>(inner), static_cast<size_t>(std::min(inner - first, kBlock)),
                          factor, out.data() + o * inner + first);
                }
              });
}

}  // namespace hachi
#endif
