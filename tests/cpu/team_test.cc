#include "engine/cpu/team.h"

#include <gtest/gtest.h>
#include <sched.h>

#include <atomic>
#include <mutex>
#include <set>
#include <thread>
#include <vector>

#include "engine/cpu/budget.h"
#include "tests/support/status_matchers.h"

namespace hachi {
namespace {

// Runs `fn` in a thread of its own, so that team and pins do not outlive the test.
template <typename Fn>
void OnFreshThread(Fn fn) {
  std::thread(fn).join();
}

TEST(TeamTest, RangesCoverTheCountOnceInWholeGrains) {
  OnFreshThread([] {
    for (const int threads : {1, 2, 3})
      for (const int64_t count : {0, 1, 7, 64, 65, 1000})
        for (const int64_t grain : {1, 16, 5000}) {
          SetTeam(threads);
          std::vector<std::atomic<int>> visits(static_cast<size_t>(count));
          std::atomic<bool> whole_grains{true};
          ParallelFor(count, grain, [&](int64_t begin, int64_t end) {
            if (begin % grain != 0 || (end % grain != 0 && end != count)) whole_grains = false;
            for (int64_t i = begin; i < end; ++i) ++visits[static_cast<size_t>(i)];
          });
          EXPECT_TRUE(whole_grains);
          for (const auto& n : visits) ASSERT_EQ(n, 1) << count << " by " << grain << " on " << threads;
        }
  });
}

TEST(TeamTest, WholeTeamWorksOnLargeCountsAndTheCallerAloneOnSmallOnes) {
  OnFreshThread([] {
    SetTeam(3);
    std::mutex mutex;
    std::set<std::thread::id> threads;
    const auto note = [&](int64_t, int64_t) {
      const std::lock_guard lock(mutex);
      threads.insert(std::this_thread::get_id());
    };
    ParallelFor(300, 1, note);
    EXPECT_EQ(threads.size(), 3);
    threads.clear();
    ParallelFor(300, 300, note);
    EXPECT_EQ(threads, std::set{std::this_thread::get_id()});
  });
}

TEST(TeamTest, NestedLoopsRunInlineAndComplete) {
  OnFreshThread([] {
    SetTeam(2);
    std::atomic<int> sum{0};
    ParallelFor(4, 1, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i)
        ParallelFor(10, 1, [&](int64_t b, int64_t e) { sum += static_cast<int>(e - b); });
    });
    EXPECT_EQ(sum, 40);
  });
}

TEST(TeamTest, PinnedThreadsStayOnTheirCpuThroughLaterLoops) {
  OnFreshThread([] {
    const std::vector<int> cpus = AllowedCpus();
    SetTeam(static_cast<int>(cpus.size()));
    ASSERT_OK(PinTeam(cpus));
    for (int round = 0; round < 3; ++round) {
      ParallelFor(1, 1, [](int64_t, int64_t) {});
      std::mutex mutex;
      std::set<int> seen;
      ParallelFor(static_cast<int64_t>(cpus.size()), 1, [&](int64_t, int64_t) {
        const std::vector<int> own = AllowedCpus();
        const std::lock_guard lock(mutex);
        EXPECT_EQ(own.size(), 1);
        seen.insert(own.front());
      });
      EXPECT_EQ(seen, std::set<int>(cpus.begin(), cpus.end()));
    }
  });
}

TEST(TeamTest, CpuThatDoesNotExistIsReported) {
  OnFreshThread([] {
    SetTeam(1);
    EXPECT_THAT(PinTeam(std::vector<int>{65000}),
                StatusIs(absl::StatusCode::kUnavailable, testing::HasSubstr("CPU 65000")));
  });
}

}  // namespace
}  // namespace hachi
