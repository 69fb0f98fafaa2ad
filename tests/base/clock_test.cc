#include "engine/base/clock.h"

#include <gtest/gtest.h>

#include "absl/time/clock.h"

namespace hachi {
namespace {

TEST(ClockTest, RealClockTellsTheWallTime) {
  // Loose enough for a wall clock that is being corrected while the test runs.
  EXPECT_LT(absl::AbsDuration(Clock::Real().Now() - absl::Now()), absl::Minutes(1));
}

TEST(ClockTest, RealClockNeverGoesBackwards) {
  absl::Time last = Clock::Real().Now();
  for (int i = 0; i < 10'000; ++i) {
    const absl::Time now = Clock::Real().Now();
    ASSERT_GE(now, last);
    last = now;
  }
}

TEST(ClockTest, ThereIsOneRealClock) { EXPECT_EQ(&Clock::Real(), &Clock::Real()); }

}  // namespace
}  // namespace hachi
