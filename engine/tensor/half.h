#pragma once

#include <bit>
#include <cmath>
#include <cstdint>

// The 16-bit floating-point types, as bits: IEEE 754 binary16 (f16) and the upper half of binary32 (bf16).
namespace hachi {

inline float FloatOfF16(uint16_t bits) {
  const int exponent = bits >> 10 & 31;
  const auto mantissa = static_cast<float>(bits & 1023);
  float magnitude = exponent == 0 ? std::ldexp(mantissa, -24) : std::ldexp(1024 + mantissa, exponent - 25);
  if (exponent == 31) magnitude = mantissa == 0 ? INFINITY : NAN;
  return (bits >> 15) != 0 ? -magnitude : magnitude;
}

// Rounded half to even; what is too large is infinite.
inline uint16_t F16OfFloat(float x) {
  const auto bits = std::bit_cast<uint32_t>(x);
  const auto sign = static_cast<uint16_t>(bits >> 16 & 0x8000);
  const float magnitude = std::abs(x);
  if (std::isnan(x)) return sign | 0x7E00;
  if (magnitude >= 65520.0f) return sign | 0x7C00;
  if (magnitude < 0x1p-14f) return sign | static_cast<uint16_t>(std::nearbyint(magnitude * 0x1p24f));
  const uint32_t kept = bits & 0x7FFFFFFF;
  const uint32_t rounded = kept + 0xFFF + (kept >> 13 & 1);
  return sign | static_cast<uint16_t>((rounded >> 13) - (uint32_t{112} << 10));
}

inline float FloatOfBf16(uint16_t bits) { return std::bit_cast<float>(uint32_t{bits} << 16); }

// Rounded half to even.
inline uint16_t Bf16OfFloat(float x) {
  const auto bits = std::bit_cast<uint32_t>(x);
  if (std::isnan(x)) return static_cast<uint16_t>(bits >> 16 | 0x40);
  return static_cast<uint16_t>((bits + 0x7FFF + (bits >> 16 & 1)) >> 16);
}

}  // namespace hachi
