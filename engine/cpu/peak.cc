#include "engine/cpu/peak.h"

#include <immintrin.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <thread>
#include <vector>

#include "engine/cpu/isa.h"

namespace hachi {
namespace {

// Independent accumulators, enough to cover the latency of two units (4 or 5 cycles each) on every core we
// know, and few enough to stay in 16 registers.
constexpr int kChains = 10;
constexpr int kSteps = 10'000;

// A burst is kSteps × kChains instructions (or sequences) on registers. The empty assembly hides from the
// compiler that accumulators start equal, that operands never change and that sums are not used: it would
// merge, hoist and drop the work.
#define HACHI_BURST(vector, zero, operand, step)      \
  vector a = operand, b = operand, sums[kChains];     \
  _Pragma("GCC unroll 10") for (auto& sum : sums) {   \
    sum = zero;                                       \
    asm volatile("" : "+v"(sum));                     \
  }                                                   \
  for (int i = 0; i < kSteps; ++i) {                  \
    _Pragma("GCC unroll 10") for (auto& sum : sums) { \
      asm volatile("" : "+v"(a), "+v"(b));            \
      sum = step;                                     \
    }                                                 \
  }                                                   \
  _Pragma("GCC unroll 10") for (auto& sum : sums) asm volatile("" : "+v"(sum))

// Not sanitized: the address sanitizer keeps arrays in memory, and these are to be registers.
#define HACHI_TARGET(set) __attribute__((target(set), no_sanitize("address", "undefined")))

HACHI_TARGET("avx512f,avx512bw,avx512vl,avx512vnni") void BurstAvx512Vnni() {
  HACHI_BURST(__m512i, _mm512_setzero_si512(), _mm512_set1_epi8(1), _mm512_dpbusd_epi32(sum, a, b));
}

HACHI_TARGET("avx2,avxvnni") void BurstAvx2Vnni() {
  HACHI_BURST(__m256i, _mm256_setzero_si256(), _mm256_set1_epi8(1), _mm256_dpbusd_avx_epi32(sum, a, b));
}

HACHI_TARGET("avx512f,avx512bw") void BurstAvx512() {
  const __m512i ones = _mm512_set1_epi16(1);
  HACHI_BURST(__m512i, _mm512_setzero_si512(), _mm512_set1_epi8(1),
              _mm512_add_epi32(sum, _mm512_madd_epi16(_mm512_maddubs_epi16(a, b), ones)));
}

HACHI_TARGET("avx2") void BurstAvx2() {
  const __m256i ones = _mm256_set1_epi16(1);
  HACHI_BURST(__m256i, _mm256_setzero_si256(), _mm256_set1_epi8(1),
              _mm256_add_epi32(sum, _mm256_madd_epi16(_mm256_maddubs_epi16(a, b), ones)));
}

HACHI_TARGET("avx512f") void BurstFp32Avx512() {
  HACHI_BURST(__m512, _mm512_setzero_ps(), _mm512_set1_ps(0.5f), _mm512_fmadd_ps(a, b, sum));
}

HACHI_TARGET("avx2,fma") void BurstFp32Avx2() {
  HACHI_BURST(__m256, _mm256_setzero_ps(), _mm256_set1_ps(0.5f), _mm256_fmadd_ps(a, b, sum));
}

#undef HACHI_TARGET
#undef HACHI_BURST

// Operations a second of `threads` threads that each repeat `burst`; the fastest of a few slices, since a
// ceiling is not lowered by what else ran meanwhile.
double Measure(int threads, void (*burst)(), double operations_per_step) {
  using Clock = std::chrono::steady_clock;
  static constexpr auto kSlice = std::chrono::milliseconds(40);
  constexpr int kSlices = 5;
  std::vector<double> rates(static_cast<size_t>(threads), 0.0);
  std::vector<std::thread> team;
  for (double& rate : rates)
    team.emplace_back([&rate, burst, operations_per_step] {
      for (int slice = 0; slice < kSlices; ++slice) {
        const auto start = Clock::now();
        int64_t bursts = 0;
        auto now = start;
        for (; now - start < kSlice; now = Clock::now(), ++bursts) burst();
        const double seconds = std::chrono::duration<double>(now - start).count();
        const double steps = static_cast<double>(bursts) * kSteps * kChains;
        rate = std::max(rate, steps * operations_per_step / seconds);
      }
    });
  double sum = 0;
  for (size_t i = 0; i < team.size(); ++i) {
    team[i].join();
    sum += rates[i];
  }
  return sum;
}

}  // namespace

double PeakInt8OpsPerSecond(int threads) {
  if (!DetectFeatures().avx2) return 0;
  switch (DetectIsa()) {
    case Isa::kAvx2:
      return Measure(threads, BurstAvx2, 64);
    case Isa::kAvx2Vnni:
      return Measure(threads, BurstAvx2Vnni, 64);
    case Isa::kAvx512:
      return Measure(threads, BurstAvx512, 128);
    case Isa::kAvx512Vnni:
    case Isa::kAmx:
      return Measure(threads, BurstAvx512Vnni, 128);
  }
  return 0;
}

double PeakFp32FlopsPerSecond(int threads) {
  if (!DetectFeatures().avx2) return 0;
  const Isa isa = DetectIsa();
  return isa >= Isa::kAvx512 ? Measure(threads, BurstFp32Avx512, 32) : Measure(threads, BurstFp32Avx2, 16);
}

}  // namespace hachi
