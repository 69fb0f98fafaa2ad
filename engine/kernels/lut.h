#pragma once

#include <array>
#include <bit>
#include <cstdint>
#include <span>

namespace hachi {

// out[i] = table[in[i]], on the calling thread's team. Bytes are bit patterns: the same call serves u8 and s8
// (for s8, table[0x80] belongs to -128). Makes any function of one INT8 value exact at the price of a lookup.
// REQUIRES: spans of one size; `in` and `out` are the same memory or do not overlap.
void MapBytes(std::span<const uint8_t> in, std::span<const uint8_t, 256> table, std::span<uint8_t> out);
void MapBytes(std::span<const uint8_t> in, std::span<const float, 256> table, std::span<float> out);

// The table of `fn`, called with each value of In (uint8_t or int8_t); its result is an Out.
template <typename In, typename Out, typename Fn>
std::array<Out, 256> TableOf(const Fn& fn) {
  std::array<Out, 256> table;
  for (int bits = 0; bits < 256; ++bits)
    table[static_cast<size_t>(bits)] = fn(std::bit_cast<In>(static_cast<uint8_t>(bits)));
  return table;
}

}  // namespace hachi
