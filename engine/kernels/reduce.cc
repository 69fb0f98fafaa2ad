#include "engine/kernels/reduce.h"

#include <algorithm>
#include <cmath>
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

// An operation's start, how it takes a number, and how results of two parts of a lane are joined.
struct Add {
  static constexpr float kStart = 0.0f;
  template <class V>
  static V Take(V result, V x) {
    return hn::Add(result, x);
  }
  static float Take(float result, float x) { return result + x; }
  template <class V>
  static V Join(V a, V b) {
    return hn::Add(a, b);
  }
  template <class D, class V>
  static float OfLanes(D d, V v) {
    return hn::GetLane(hn::SumOfLanes(d, v));
  }
};

struct AddMagnitude : Add {
  template <class V>
  static V Take(V result, V x) {
    return hn::Add(result, hn::Abs(x));
  }
  static float Take(float result, float x) { return result + std::abs(x); }
};

struct AddSquare : Add {
  template <class V>
  static V Take(V result, V x) {
    return hn::MulAdd(x, x, result);
  }
  static float Take(float result, float x) { return result + x * x; }
};

struct Max {
  static constexpr float kStart = -std::numeric_limits<float>::infinity();
  template <class V>
  static V Take(V result, V x) {
    return hn::Max(result, x);
  }
  static float Take(float result, float x) { return result < x ? x : result; }
  template <class V>
  static V Join(V a, V b) {
    return hn::Max(a, b);
  }
  template <class D, class V>
  static float OfLanes(D d, V v) {
    return hn::GetLane(hn::MaxOfLanes(d, v));
  }
};

struct Min {
  static constexpr float kStart = std::numeric_limits<float>::infinity();
  template <class V>
  static V Take(V result, V x) {
    return hn::Min(result, x);
  }
  static float Take(float result, float x) { return x < result ? x : result; }
  template <class V>
  static V Join(V a, V b) {
    return hn::Min(a, b);
  }
  template <class D, class V>
  static float OfLanes(D d, V v) {
    return hn::GetLane(hn::MinOfLanes(d, v));
  }
};

struct Multiply {
  static constexpr float kStart = 1.0f;
  template <class V>
  static V Take(V result, V x) {
    return hn::Mul(result, x);
  }
  static float Take(float result, float x) { return result * x; }
  template <class V>
  static V Join(V a, V b) {
    return hn::Mul(a, b);
  }
  template <class D, class V>
  static float OfLanes(D d, V v) {
    alignas(64) float lanes[HWY_MAX_BYTES / sizeof(float)];
    hn::Store(v, d, lanes);
    float product = 1.0f;
    for (size_t i = 0; i < hn::Lanes(d); ++i) product *= lanes[i];
    return product;
  }
};

// Four vectors at a time: as many as an addition takes cycles.
template <class Op>
float ReduceRow(const float* in, size_t count) {
  const hn::ScalableTag<float> d;
  const size_t lanes = hn::Lanes(d);
  auto r0 = hn::Set(d, Op::kStart), r1 = r0, r2 = r0, r3 = r0;
  size_t i = 0;
  for (; i + 4 * lanes <= count; i += 4 * lanes) {
    r0 = Op::Take(r0, hn::LoadU(d, in + i));
    r1 = Op::Take(r1, hn::LoadU(d, in + i + lanes));
    r2 = Op::Take(r2, hn::LoadU(d, in + i + 2 * lanes));
    r3 = Op::Take(r3, hn::LoadU(d, in + i + 3 * lanes));
  }
  for (; i + lanes <= count; i += lanes) r0 = Op::Take(r0, hn::LoadU(d, in + i));
  float result = Op::OfLanes(d, Op::Join(Op::Join(r0, r1), Op::Join(r2, r3)));
  for (; i < count; ++i) result = Op::Take(result, in[i]);
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
      r0 = Op::Take(r0, hn::LoadU(d, from));
      r1 = Op::Take(r1, hn::LoadU(d, from + lanes));
      r2 = Op::Take(r2, hn::LoadU(d, from + 2 * lanes));
      r3 = Op::Take(r3, hn::LoadU(d, from + 3 * lanes));
    }
    hn::StoreU(hn::Mul(r0, factors), d, out + c);
    hn::StoreU(hn::Mul(r1, factors), d, out + c + lanes);
    hn::StoreU(hn::Mul(r2, factors), d, out + c + 2 * lanes);
    hn::StoreU(hn::Mul(r3, factors), d, out + c + 3 * lanes);
  }
  for (; c + lanes <= columns; c += lanes) {
    auto r = hn::Set(d, Op::kStart);
    for (size_t k = 0; k < length; ++k) r = Op::Take(r, hn::LoadU(d, in + k * stride + c));
    hn::StoreU(hn::Mul(r, factors), d, out + c);
  }
  for (; c < columns; ++c) {
    float r = Op::kStart;
    for (size_t k = 0; k < length; ++k) r = Op::Take(r, in[k * stride + c]);
    out[c] = r * factor;
  }
}

float Row(Reduction reduction, const float* in, size_t count) {
  switch (reduction) {
    case Reduction::kSum:
    case Reduction::kMean:
      return ReduceRow<Add>(in, count);
    case Reduction::kMax:
      return ReduceRow<Max>(in, count);
    case Reduction::kMin:
      return ReduceRow<Min>(in, count);
    case Reduction::kProduct:
      return ReduceRow<Multiply>(in, count);
    case Reduction::kSumOfMagnitudes:
      return ReduceRow<AddMagnitude>(in, count);
    case Reduction::kSumOfSquares:
      return ReduceRow<AddSquare>(in, count);
  }
  return 0.0f;
}

void Columns(Reduction reduction, const float* in, size_t length, size_t stride, size_t columns, float factor,
             float* out) {
  switch (reduction) {
    case Reduction::kSum:
    case Reduction::kMean:
      return ReduceColumns<Add>(in, length, stride, columns, factor, out);
    case Reduction::kMax:
      return ReduceColumns<Max>(in, length, stride, columns, factor, out);
    case Reduction::kMin:
      return ReduceColumns<Min>(in, length, stride, columns, factor, out);
    case Reduction::kProduct:
      return ReduceColumns<Multiply>(in, length, stride, columns, factor, out);
    case Reduction::kSumOfMagnitudes:
      return ReduceColumns<AddMagnitude>(in, length, stride, columns, factor, out);
    case Reduction::kSumOfSquares:
      return ReduceColumns<AddSquare>(in, length, stride, columns, factor, out);
  }
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace hachi
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace hachi {
namespace {
HWY_EXPORT(Row);
HWY_EXPORT(Columns);
}  // namespace

void Reduce(Reduction reduction, std::span<const float> in, int64_t length, int64_t inner,
            std::span<float> out) {
  // Elements worth waking the team for: some µs of one core.
  constexpr int64_t kGrain = 1 << 14;
  // Columns that one thread takes at a time: four vectors of 16.
  constexpr int64_t kBlock = 64;
  const float factor =
      reduction == Reduction::kMean ? static_cast<float>(1.0 / static_cast<double>(length)) : 1.0f;
  if (inner == 1) {
    const auto row = HACHI_DISPATCH(Row);
    const int64_t rows = static_cast<int64_t>(in.size()) / length;
    ParallelFor(rows, (kGrain - 1) / length + 1, [&](int64_t begin, int64_t end) {
      for (int64_t r = begin; r < end; ++r)
        out[r] = row(reduction, in.data() + r * length, static_cast<size_t>(length)) * factor;
    });
    return;
  }
  const auto columns = HACHI_DISPATCH(Columns);
  const int64_t outer = static_cast<int64_t>(in.size()) / (length * inner), blocks = (inner - 1) / kBlock + 1;
  ParallelFor(outer * blocks, (kGrain - 1) / (length * std::min(inner, kBlock)) + 1,
              [&](int64_t begin, int64_t end) {
                for (int64_t i = begin; i < end; ++i) {
                  const int64_t o = i / blocks, first = i % blocks * kBlock;
                  columns(reduction, in.data() + o * length * inner + first, static_cast<size_t>(length),
                          static_cast<size_t>(inner), static_cast<size_t>(std::min(inner - first, kBlock)),
                          factor, out.data() + o * inner + first);
                }
              });
}

}  // namespace hachi
#endif
