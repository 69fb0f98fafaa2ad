#pragma once

#include <immintrin.h>

#include <cstdint>

// Shared by the kernels that are written for AVX-512 VNNI; nobody outside this folder includes it.

#define HACHI_VNNI __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")))
// Sums handed to a function that is not inlined would live in memory.
#define HACHI_VNNI_INLINE HACHI_VNNI inline __attribute__((always_inline))

namespace hachi {

// Unpacking bytes to dwords and packing dwords to bytes work within 16 bytes: channel 16 l + 4 q + i of 64 is
// dword i of lane l of vector q. Where channel `c` lies among the four vectors' dwords.
constexpr int64_t PlaceAmongFour(int64_t c) { return c % 16 / 4 * 16 + c / 16 * 4 + c % 4; }

// Four vectors of dwords as 64 saturated bytes within bounds, channels in order again.
HACHI_VNNI_INLINE __m512i PackBytes(const __m512i (&dwords)[4], bool to_signed, int32_t lowest,
                                    int32_t highest) {
  const __m512i low = _mm512_packs_epi32(dwords[0], dwords[1]),
                high = _mm512_packs_epi32(dwords[2], dwords[3]);
  const __m512i least = _mm512_set1_epi8(static_cast<char>(lowest)),
                most = _mm512_set1_epi8(static_cast<char>(highest));
  if (to_signed) return _mm512_min_epi8(_mm512_max_epi8(_mm512_packs_epi16(low, high), least), most);
  return _mm512_min_epu8(_mm512_max_epu8(_mm512_packus_epi16(low, high), least), most);
}

}  // namespace hachi
