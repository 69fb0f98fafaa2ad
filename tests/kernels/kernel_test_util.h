#pragma once

#include <gtest/gtest.h>
#include <hwy/targets.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <random>
#include <span>
#include <string>
#include <vector>

#include "engine/cpu/team.h"
#include "engine/kernels/dispatch.h"
#include "engine/tensor/dtype.h"

namespace hachi {

// Calls fn() on each of Highway's targets that the ladder leaves, with teams of one and of three. The
// one-lane SCALAR target is left out: no CPU we serve chooses it, and its NearestInt misrounds 0.49999997.
template <typename Fn>
void OnEveryTarget(const Fn& fn) {
  FollowLadder();
  for (const int64_t target : hwy::SupportedAndGeneratedTargets()) {
    if (target == HWY_SCALAR) continue;
    SCOPED_TRACE(hwy::TargetName(target));
    hwy::SetSupportedTargetsForTest(target);
    hwy::GetChosenTarget().Update(hwy::SupportedTargets());
    for (const int threads : {1, 3}) {
      SetTeam(threads);
      fn();
    }
    SetTeam(1);
    hwy::SetSupportedTargetsForTest(0);
    hwy::GetChosenTarget().Update(hwy::SupportedTargets());
  }
}

inline std::vector<std::byte> RandomBytes(size_t count, uint32_t seed = 1) {
  std::mt19937 random(seed);
  std::vector<std::byte> bytes(count);
  for (auto& byte : bytes) byte = static_cast<std::byte>(random());
  return bytes;
}

// Ties, values on both sides of every bound, and what is not a number.
inline std::vector<float> TrickyFloats(size_t count, float scale, uint32_t seed = 1) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  std::mt19937 random(seed);
  std::vector<float> values(count);
  for (float& value : values) {
    const auto pick = random();
    const float tie = (static_cast<float>(pick / 16 % 1400) - 700.0f) * 0.5f * scale;
    switch (pick % 16) {
      case 0:
        value = std::numeric_limits<float>::quiet_NaN();
        break;
      case 1:
        value = pick / 16 % 2 == 0 ? kInfinity : -kInfinity;
        break;
      case 2:
        value = pick / 16 % 2 == 0 ? 3e38f : -3e38f;
        break;
      case 3:
        value = 0.49999997f * scale;
        break;
      case 4:
      case 5:
      case 6:
      case 7:
        value = tie;
        break;
      default:
        value = tie + std::generate_canonical<float, 24>(random) * scale;
    }
  }
  return values;
}

// Names the first difference, if any; bit patterns are compared.
template <typename T>
void ExpectSame(std::span<const T> found, std::span<const T> expected) {
  ASSERT_EQ(found.size(), expected.size());
  for (size_t i = 0; i < found.size(); ++i)
    ASSERT_EQ(std::memcmp(&found[i], &expected[i], sizeof(T)), 0)
        << "at " << i << ": " << +found[i] << ", expected " << +expected[i];
}
inline void ExpectSame(const std::vector<std::byte>& found, const std::vector<std::byte>& expected) {
  const auto bytes = [](const std::vector<std::byte>& v) {
    return std::span<const uint8_t>(reinterpret_cast<const uint8_t*>(v.data()), v.size());
  };
  ExpectSame<uint8_t>(bytes(found), bytes(expected));
}

}  // namespace hachi
