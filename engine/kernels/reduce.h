#pragma once

#include <cstdint>
#include <span>

namespace hachi {

enum class Reduction { kSum, kMean, kMax, kMin, kProduct, kSumOfMagnitudes, kSumOfSquares };

// `in` is [outer, length, inner]; `out`, [outer, inner], takes the reduction along the middle axis, on the
// calling thread's team. Sums and products are of floats, in an order that depends on nothing but the shape
// and the instruction set. The maximum or minimum of a lane with a NaN is any number. REQUIRES: length and
// inner are positive, in.size() a multiple of their product; no overlap.
void Reduce(Reduction reduction, std::span<const float> in, int64_t length, int64_t inner,
            std::span<float> out);

}  // namespace hachi
