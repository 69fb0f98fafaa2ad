#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace hachi {

// One term of a weighted sum of vectors.
struct WeightedVector {
  int64_t offset;  // of its first element
  float weight;
};

// out[i] = sum over terms of weight * in[offset + i], in the order of the terms, on the calling thread;
// integers are rounded half to even and saturated. REQUIRES: out does not overlap what is read.
void WeightedSum(const float* in, std::span<const WeightedVector> terms, std::span<float> out);
void WeightedSum(const uint8_t* in, std::span<const WeightedVector> terms, std::span<uint8_t> out);
void WeightedSum(const int8_t* in, std::span<const WeightedVector> terms, std::span<int8_t> out);

}  // namespace hachi
