#pragma once

#include <span>

namespace hachi {

// a[i] becomes a function of a[i] and b[i], on the calling thread. REQUIRES: spans of one size that do not
// overlap.
void AddFloats(std::span<float> a, std::span<const float> b);
void SubtractFloats(std::span<float> a, std::span<const float> b);
void MultiplyFloats(std::span<float> a, std::span<const float> b);
void DivideFloats(std::span<float> a, std::span<const float> b);
// The larger, or the smaller; a where neither is, as where one is NaN.
void TakeLarger(std::span<float> a, std::span<const float> b);
void TakeSmaller(std::span<float> a, std::span<const float> b);
// Times b where a is negative (PRelu).
void ScaleNegatives(std::span<float> a, std::span<const float> b);

}  // namespace hachi
