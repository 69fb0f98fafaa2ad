#include "engine/kernels/unary.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>

#include "engine/cpu/team.h"
#include "engine/kernels/dispatch.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "engine/kernels/unary.cc"
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

struct Abs {
  template <class D, class V>
  V operator()(D /*d*/, V x) const {
    return hn::Abs(x);
  }
};

struct Cube {
  template <class D, class V>
  V operator()(D /*d*/, V x) const {
    return hn::Mul(hn::Mul(x, x), x);
  }
};

// x P(x²) / Q(x²), a weighted least squares fit of erf(x) / x on [0, 3.92]; beyond, erf is 1 in a float. As
// exact numbers the quotient is off by 2e-8 at most, the rest of the error is rounding.
struct Erf {
  template <class D, class V>
  V operator()(D d, V x) const {
    const auto limit = hn::Set(d, 3.92f);
    // Comparisons with NaN are false, so it passes.
    auto y = hn::IfThenElse(hn::Gt(x, limit), limit, x);
    y = hn::IfThenElse(hn::Lt(y, hn::Neg(limit)), hn::Neg(limit), y);
    const auto u = hn::Mul(y, y);
    auto p = hn::Set(d, 2.0500976916082436e-06f);
    p = hn::MulAdd(p, u, hn::Set(d, 0.0002848830190487206f));
    p = hn::MulAdd(p, u, hn::Set(d, 0.0037656035274267197f));
    p = hn::MulAdd(p, u, hn::Set(d, 0.052748680114746094f));
    p = hn::MulAdd(p, u, hn::Set(d, 0.19040606915950775f));
    p = hn::MulAdd(p, u, hn::Set(d, 1.1283791065216064f));
    auto q = hn::Set(d, 3.8091839087428525e-05f);
    q = hn::MulAdd(q, u, hn::Set(d, 0.0011625334154814482f));
    q = hn::MulAdd(q, u, hn::Set(d, 0.01496918871998787f));
    q = hn::MulAdd(q, u, hn::Set(d, 0.11410895735025406f));
    q = hn::MulAdd(q, u, hn::Set(d, 0.502075731754303f));
    q = hn::MulAdd(q, u, hn::Set(d, 1.0f));
    const auto one = hn::Set(d, 1.0f);
    const auto result = hn::Div(hn::Mul(y, p), q);
    const auto is_one = hn::Or(hn::Gt(hn::Abs(x), limit), hn::Gt(hn::Abs(result), one));
    return hn::IfThenElse(is_one, hn::CopySign(one, x), result);
  }
};

struct Exp {
  template <class D, class V>
  V operator()(D d, V x) const {
    // The library's function is good up to 104, where floats end, and makes NaN zero.
    const auto limit = hn::Set(d, 104.0f);
    const auto y = hn::Exp(d, hn::IfThenElse(hn::Gt(x, limit), limit, x));
    return hn::IfThenElse(hn::Eq(x, x), y, x);
  }
};

struct ClampedLine {
  float alpha, beta;
  template <class D, class V>
  V operator()(D d, V x) const {
    const auto y = hn::MulAdd(x, hn::Set(d, alpha), hn::Set(d, beta));
    return hn::Min(hn::Max(y, hn::Zero(d)), hn::Set(d, 1.0f));
  }
};

struct Log {
  template <class D, class V>
  V operator()(D d, V x) const {
    // The library's function is good for positive finite numbers.
    const auto zero = hn::Zero(d), infinity = hn::Set(d, std::numeric_limits<float>::infinity());
    auto y =
        hn::IfThenElse(hn::Lt(x, infinity), hn::Log(d, x), x);  // infinity and NaN are their own logarithms
    y = hn::IfThenElse(hn::Eq(x, zero), hn::Neg(infinity), y);
    return hn::IfThenElse(hn::Lt(x, zero), hn::Set(d, std::numeric_limits<float>::quiet_NaN()), y);
  }
};

struct Neg {
  template <class D, class V>
  V operator()(D /*d*/, V x) const {
    return hn::Neg(x);
  }
};

struct Reciprocal {
  template <class D, class V>
  V operator()(D d, V x) const {
    return hn::Div(hn::Set(d, 1.0f), x);
  }
};

struct Sqrt {
  template <class D, class V>
  V operator()(D /*d*/, V x) const {
    return hn::Sqrt(x);
  }
};

struct Square {
  template <class D, class V>
  V operator()(D /*d*/, V x) const {
    return hn::Mul(x, x);
  }
};

template <class Function>
void Map(const Function& function, const float* in, size_t count, float* out) {
  const hn::ScalableTag<float> d;
  const size_t lanes = hn::Lanes(d);
  size_t i = 0;
  for (; i + lanes <= count; i += lanes) hn::StoreU(function(d, hn::LoadU(d, in + i)), d, out + i);
  if (i == count) return;
  alignas(64) float last[HWY_MAX_BYTES / sizeof(float)] = {};
  std::copy(in + i, in + count, last);
  hn::Store(function(d, hn::Load(d, last)), d, last);
  std::copy(last, last + (count - i), out + i);
}

void ApplyRun(UnaryFunction function, const float* in, size_t count, float* out) {
  switch (function) {
    case UnaryFunction::kAbs:
      return Map(Abs(), in, count, out);
    case UnaryFunction::kCube:
      return Map(Cube(), in, count, out);
    case UnaryFunction::kErf:
      return Map(Erf(), in, count, out);
    case UnaryFunction::kExp:
      return Map(Exp(), in, count, out);
    case UnaryFunction::kLog:
      return Map(Log(), in, count, out);
    case UnaryFunction::kNeg:
      return Map(Neg(), in, count, out);
    case UnaryFunction::kReciprocal:
      return Map(Reciprocal(), in, count, out);
    case UnaryFunction::kSqrt:
      return Map(Sqrt(), in, count, out);
    case UnaryFunction::kSquare:
      return Map(Square(), in, count, out);
  }
}

void HardSigmoidRun(const float* in, size_t count, float alpha, float beta, float* out) {
  Map(ClampedLine{alpha, beta}, in, count, out);
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace hachi
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace hachi {
namespace {
HWY_EXPORT(ApplyRun);
HWY_EXPORT(HardSigmoidRun);

// Elements worth waking the team for: some µs of one core.
constexpr int64_t kGrain = 1 << 13;

}  // namespace

void ApplyUnary(UnaryFunction function, std::span<const float> in, std::span<float> out) {
  const auto apply = HACHI_DISPATCH(ApplyRun);
  ParallelFor(static_cast<int64_t>(in.size()), kGrain, [&](int64_t begin, int64_t end) {
    apply(function, in.data() + begin, static_cast<size_t>(end - begin), out.data() + begin);
  });
}

void HardSigmoid(std::span<const float> in, float alpha, float beta, std::span<float> out) {
  const auto run = HACHI_DISPATCH(HardSigmoidRun);
  ParallelFor(static_cast<int64_t>(in.size()), kGrain, [&](int64_t begin, int64_t end) {
    run(in.data() + begin, static_cast<size_t>(end - begin), alpha, beta, out.data() + begin);
  });
}

}  // namespace hachi
#endif
