#include "engine/cpu/peak.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <cstdint>

#include "engine/cpu/isa.h"

namespace hachi {
namespace {

// Clock rate from a chain of multiplications, three cycles each on every core with AVX2.
double CyclesPerSecond() {
  constexpr int kLinks = 1'000'000;
  double best = 0;
  for (int round = 0; round < 5; ++round) {
    const auto start = std::chrono::steady_clock::now();
    int64_t x = 3;
    for (int i = 0; i < kLinks; ++i) asm volatile("imul %0, %0" : "+r"(x));
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
    best = std::max(best, 3 * kLinks / seconds.count());
  }
  return best;
}

TEST(PeakTest, CeilingsFitTheUnitsOfACore) {
  if (!DetectFeatures().avx2) GTEST_SKIP() << "no AVX2 here";
  const double int8 = PeakInt8OpsPerSecond(1), fp32 = PeakFp32FlopsPerSecond(1), clock = CyclesPerSecond();
  RecordProperty("int8_gops", static_cast<int>(int8 / 1e9));
  RecordProperty("fp32_gflops", static_cast<int>(fp32 / 1e9));
  // Between what one AVX2 unit does in ten cycles, for machines that are busy otherwise, and what two AVX-512
  // units do in one, a tenth more for the clocks.
  EXPECT_GT(fp32, 1.6 * clock);
  EXPECT_LT(fp32, 64 * 1.1 * clock);
  EXPECT_GT(int8, 3.2 * clock);
  EXPECT_LT(int8, (HasVnni(DetectIsa()) ? 256 : 128) * 1.1 * clock);
}

}  // namespace
}  // namespace hachi
