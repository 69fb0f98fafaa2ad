#pragma once

#include <span>

namespace hachi {

enum class UnaryFunction { kAbs, kCube, kErf, kExp, kLog, kNeg, kReciprocal, kSqrt, kSquare };

// out[i] = function(in[i]) on the calling thread's team. Correctly rounded, but for kCube, kErf, kExp and
// kLog: their relative error is at most 5e-7 (tried on a million numbers over the whole range; kLog near 1:
// absolute). What is not in a function's domain is NaN, NaN stays NaN, infinities go where the function's
// limits are. REQUIRES: spans of one size; the same memory or no overlap.
void ApplyUnary(UnaryFunction function, std::span<const float> in, std::span<float> out);

// out[i] = min(max(alpha * in[i] + beta, 0), 1), likewise; NaN becomes a number.
void HardSigmoid(std::span<const float> in, float alpha, float beta, std::span<float> out);

}  // namespace hachi
