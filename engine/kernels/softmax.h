#pragma once

#include <cstdint>
#include <span>

namespace hachi {

// Softmax of each row of `row_length` consecutive elements, with the row's maximum subtracted, on the calling
// thread's team. A row's answer depends on nothing but the row and the instruction set: not on other rows,
// threads or addresses. Relative error: at most 1e-6 + 6e-8 × |log(result)| (tried up to 4096 elements), but
// for results below 1e-37. A row with a NaN, with plus infinity, or of nothing but minus infinities is NaN.
// REQUIRES: spans of one size, a multiple of row_length > 0; the same memory or no overlap.
void Softmax(std::span<const float> in, int64_t row_length, std::span<float> out);

// The logarithm of each row's softmax, without the digits that small probabilities lose. Absolute error: at
// most 1e-6 × (1 + |result|).
void LogSoftmax(std::span<const float> in, int64_t row_length, std::span<float> out);

}  // namespace hachi
