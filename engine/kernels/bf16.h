#pragma once

#include <cstdint>
#include <span>

namespace hachi {

// Bf16OfFloat and FloatOfBf16 (engine/tensor/half.h) of every element, on the calling thread's team.
// REQUIRES: spans of one size that do not overlap.
void ToBf16(std::span<const float> in, std::span<uint16_t> out);
void FromBf16(std::span<const uint16_t> in, std::span<float> out);

}  // namespace hachi
