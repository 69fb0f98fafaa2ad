#include "engine/kernels/lut.h"

#include <immintrin.h>

#include <cstddef>

#include "engine/cpu/isa.h"
#include "engine/cpu/team.h"

namespace hachi {
namespace {

// Elements worth waking the team for: some µs of one core.
constexpr int64_t kGrain = 1 << 14;

template <typename T>
void MapPlain(const uint8_t* in, size_t count, const T* table, T* out) {
  for (size_t i = 0; i < count; ++i) out[i] = table[in[i]];
}

// Highway has no word for a lookup in 128 bytes. Two of them cover the table; the index's top bit selects.
__attribute__((target("avx512f,avx512bw,avx512vl,avx512vbmi"))) void MapVbmi(const uint8_t* in, size_t count,
                                                                             const uint8_t* table,
                                                                             uint8_t* out) {
  const __m512i t0 = _mm512_loadu_si512(table), t1 = _mm512_loadu_si512(table + 64);
  const __m512i t2 = _mm512_loadu_si512(table + 128), t3 = _mm512_loadu_si512(table + 192);
  for (size_t i = 0; i < count; i += 64) {
    const size_t left = count - i;
    const __mmask64 lanes = left >= 64 ? ~__mmask64{0} : (__mmask64{1} << left) - 1;
    const __m512i index = _mm512_maskz_loadu_epi8(lanes, in + i);
    const __m512i low = _mm512_permutex2var_epi8(t0, index, t1);
    const __m512i high = _mm512_permutex2var_epi8(t2, index, t3);
    _mm512_mask_storeu_epi8(out + i, lanes, _mm512_mask_blend_epi8(_mm512_movepi8_mask(index), low, high));
  }
}

bool UseVbmi() {
  static const bool use = DetectIsa() >= Isa::kAvx512 && __builtin_cpu_supports("avx512vbmi");
  return use;
}

}  // namespace

void MapBytes(std::span<const uint8_t> in, std::span<const uint8_t, 256> table, std::span<uint8_t> out) {
  const auto map = UseVbmi() ? MapVbmi : MapPlain<uint8_t>;
  ParallelFor(static_cast<int64_t>(in.size()), kGrain, [&](int64_t begin, int64_t end) {
    map(in.data() + begin, static_cast<size_t>(end - begin), table.data(), out.data() + begin);
  });
}

void MapBytes(std::span<const uint8_t> in, std::span<const float, 256> table, std::span<float> out) {
  ParallelFor(static_cast<int64_t>(in.size()), kGrain, [&](int64_t begin, int64_t end) {
    MapPlain(in.data() + begin, static_cast<size_t>(end - begin), table.data(), out.data() + begin);
  });
}

}  // namespace hachi
