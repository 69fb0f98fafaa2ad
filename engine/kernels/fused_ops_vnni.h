#pragma once

#include <immintrin.h>

#include "engine/kernels/fused_ops.h"
#include "engine/kernels/vnni.h"

// Post-ops on vectors of real numbers; nobody outside this folder includes it.
namespace hachi {

// 2^x to 2e-7 of it, for x from -126 to 127.
HACHI_VNNI_INLINE __m512 PowerOfTwo(__m512 x) {
  const __m512 whole = _mm512_roundscale_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC),
               rest = _mm512_sub_ps(x, whole);
  // e^t, t = rest × log(2), by its series.
  const __m512 t = _mm512_mul_ps(rest, _mm512_set1_ps(0.69314718f));
  __m512 y = _mm512_set1_ps(1.0f / 720);
  for (const float coefficient : {1.0f / 120, 1.0f / 24, 1.0f / 6, 0.5f, 1.0f, 1.0f})
    y = _mm512_fmadd_ps(y, t, _mm512_set1_ps(coefficient));
  return _mm512_scalef_ps(y, whole);
}

// 1 / (1 + e^-(factor × x)).
HACHI_VNNI_INLINE __m512 SigmoidOf(__m512 x, float factor) {
  __m512 power = _mm512_mul_ps(x, _mm512_set1_ps(-1.44269504f * factor));
  power = _mm512_min_ps(_mm512_max_ps(power, _mm512_set1_ps(-126)), _mm512_set1_ps(126));
  const __m512 one = _mm512_set1_ps(1.0f);
  return _mm512_div_ps(one, _mm512_add_ps(one, PowerOfTwo(power)));
}

// ApplyPostOp of each number. REQUIRES: HasVectorForm.
HACHI_VNNI_INLINE __m512 ApplyToVector(const PostOp& post_op, __m512 x) {
  using Kind = PostOp::Kind;
  const __m512 alpha = _mm512_set1_ps(post_op.alpha), beta = _mm512_set1_ps(post_op.beta);
  const __m512 zero = _mm512_setzero_ps(), one = _mm512_set1_ps(1.0f);
  switch (post_op.kind) {
    case Kind::kClip:
      return _mm512_min_ps(_mm512_max_ps(x, alpha), beta);
    case Kind::kLeakyRelu:
      return _mm512_mask_mul_ps(x, _mm512_cmp_ps_mask(x, zero, _CMP_LT_OQ), x, alpha);
    case Kind::kHardSigmoid:
      return _mm512_min_ps(_mm512_max_ps(_mm512_fmadd_ps(x, alpha, beta), zero), one);
    case Kind::kHardSwish: {
      const __m512 gate = _mm512_fmadd_ps(x, _mm512_set1_ps(1.0f / 6), _mm512_set1_ps(0.5f));
      return _mm512_mul_ps(x, _mm512_min_ps(_mm512_max_ps(gate, zero), one));
    }
    case Kind::kLinear:
      return _mm512_fmadd_ps(x, alpha, beta);
    case Kind::kSigmoid:
      return SigmoidOf(x, 1.0f);
    case Kind::kSwish:
      return _mm512_mul_ps(x, SigmoidOf(x, post_op.alpha));
    default:
      return x;
  }
}

template <int kVectors>
HACHI_VNNI_INLINE void ApplyToVectors(const PostOp& post_op, __m512 (&x)[kVectors]) {
#pragma GCC unroll 4
  for (int q = 0; q < kVectors; ++q) x[q] = ApplyToVector(post_op, x[q]);
}

}  // namespace hachi
