#include "server/client/load_loop.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <cmath>
#include <mutex>
#include <thread>
#include <vector>

namespace hachi::server {
namespace {

using ::testing::ElementsAre;
using ::testing::Pair;

const std::function<void(int64_t)> kNoProgress;

TEST(LoadLoopTest, ClosedLoopSendsEveryRequestOnceInOrder) {
  std::vector<int64_t> seen;
  const LoadReport report = RunLoadLoop(
      {.concurrency = 3, .requests = 7},
      [&](int64_t index, LoadDone done) {
        seen.push_back(index);
        done(absl::OkStatus(), Verdict::kSame);
      },
      kNoProgress);
  EXPECT_THAT(seen, ElementsAre(0, 1, 2, 3, 4, 5, 6));
  EXPECT_EQ(report.sent, 7);
  EXPECT_EQ(report.succeeded, 7);
  EXPECT_EQ(report.latencies.size(), 7u);
}

TEST(LoadLoopTest, ClosedLoopNeverHasMoreInFlightThanItsConcurrency) {
  std::mutex mutex;
  std::vector<LoadDone> open;
  size_t most = 0;
  std::atomic<bool> stop{false};
  std::thread answers([&] {
    while (!stop) {
      LoadDone done;
      {
        std::lock_guard lock(mutex);
        // Answer only when the loop has gone as far as it may.
        if (open.size() < 4) continue;
        done = std::move(open.back());
        open.pop_back();
      }
      done(absl::OkStatus(), Verdict::kSame);
    }
    std::lock_guard lock(mutex);
    for (LoadDone& done : open) done(absl::OkStatus(), Verdict::kSame);
  });
  int64_t last = 0;
  const LoadReport report = RunLoadLoop(
      {.concurrency = 4, .requests = 200},
      [&](int64_t index, LoadDone done) {
        std::lock_guard lock(mutex);
        open.push_back(std::move(done));
        most = std::max(most, open.size());
        last = index;
        if (index == 199) stop = true;
      },
      kNoProgress);
  answers.join();
  EXPECT_EQ(most, 4u);
  EXPECT_EQ(last, 199);
  EXPECT_EQ(report.succeeded, 200);
}

TEST(LoadLoopTest, ErrorsAndDifferencesAreCountedByKind) {
  const LoadReport report = RunLoadLoop(
      {.concurrency = 1, .requests = 4},
      [](int64_t index, LoadDone done) {
        if (index == 0) return done(absl::UnavailableError("first"), Verdict::kSame);
        if (index == 1) return done(absl::UnavailableError("second"), Verdict::kSame);
        done(absl::OkStatus(), index == 2 ? Verdict::kDifferent : Verdict::kSame);
      },
      kNoProgress);
  EXPECT_THAT(report.errors, ElementsAre(Pair(absl::StatusCode::kUnavailable, 2)));
  EXPECT_THAT(report.first_message, ElementsAre(Pair(absl::StatusCode::kUnavailable, "first")));
  EXPECT_EQ(report.succeeded, 2);
  EXPECT_EQ(report.different, 1);
}

TEST(LoadLoopTest, OpenLoopCountsLatencyFromTheMomentTheRequestWasDue) {
  // 1,000 a second, but sending one takes 5 ms: request i is sent about 4 × i ms late, and that must show.
  const LoadReport report = RunLoadLoop(
      {.rate_per_second = 1000, .requests = 10},
      [](int64_t, LoadDone done) {
        std::this_thread::sleep_for(std::chrono::milliseconds(5));
        done(absl::OkStatus(), Verdict::kSame);
      },
      kNoProgress);
  EXPECT_EQ(report.succeeded, 10);
  EXPECT_GE(report.Percentile(1), absl::Milliseconds(10 * 5 - 9));
}

TEST(LoadLoopTest, PoissonArrivalsKeepTheRateButNotTheBeat) {
  const LoadReport report = RunLoadLoop(
      {.rate_per_second = 100'000, .poisson = true, .duration = absl::Milliseconds(50)},
      [](int64_t, LoadDone done) { done(absl::OkStatus(), Verdict::kSame); }, kNoProgress);
  EXPECT_NEAR(static_cast<double>(report.sent), 5000, 5 * std::sqrt(5000));
  EXPECT_NE(report.sent, 5000);  // what an even beat would give
}

TEST(LoadLoopTest, DurationEndsTheSending) {
  const LoadReport report = RunLoadLoop(
      {.rate_per_second = 100, .duration = absl::Milliseconds(45)},
      [](int64_t, LoadDone done) { done(absl::OkStatus(), Verdict::kSame); }, kNoProgress);
  EXPECT_EQ(report.sent, 5);  // due at 0, 10, 20, 30 and 40 ms
}

TEST(LoadReportTest, PercentilesAreTheNearestRank) {
  LoadReport report;
  for (int i = 1; i <= 10; ++i) report.latencies.push_back(absl::Milliseconds(i));
  EXPECT_EQ(report.Percentile(0.5), absl::Milliseconds(5));
  EXPECT_EQ(report.Percentile(0.9), absl::Milliseconds(9));
  EXPECT_EQ(report.Percentile(0.91), absl::Milliseconds(10));
  EXPECT_EQ(report.Percentile(1), absl::Milliseconds(10));
  EXPECT_EQ(LoadReport().Percentile(0.5), absl::ZeroDuration());
}

}  // namespace
}  // namespace hachi::server
