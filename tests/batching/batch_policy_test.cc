#include "server/batching/batch_policy.h"

#include <gtest/gtest.h>

#include <vector>

namespace hachi::server {
namespace {

constexpr absl::Duration kMs = absl::Milliseconds(1);
constexpr absl::Time kStart = absl::UnixEpoch();

// A request that came `ms` after the start.
Waiting At(int ms, int64_t rows = 1, absl::Time deadline = absl::InfiniteFuture()) {
  return {.rows = rows, .enqueued = kStart + absl::Milliseconds(ms), .deadline = deadline};
}

const BatchPolicy kPolicy = {.max_rows = 4, .max_delay = 10 * kMs, .expected_run = 2 * kMs};

TEST(BatchPolicyTest, NobodyWaitsForever) {
  const BatchDecision decision = kPolicy.Decide({}, kStart);
  EXPECT_EQ(decision.close_requests, 0u);
  EXPECT_EQ(decision.due, absl::InfiniteFuture());
}

TEST(BatchPolicyTest, LoneRequestWaitsExactlyItsDelay) {
  const std::vector queue = {At(0)};
  EXPECT_EQ(kPolicy.Decide(queue, kStart + 10 * kMs - absl::Nanoseconds(1)).close_requests, 0u);
  EXPECT_EQ(kPolicy.Decide(queue, kStart + 10 * kMs).close_requests, 1u);
  EXPECT_EQ(kPolicy.Decide(queue, kStart).due, kStart + 10 * kMs);
}

TEST(BatchPolicyTest, DelayIsTheOldestRequests) {
  const std::vector queue = {At(0), At(9)};
  EXPECT_EQ(kPolicy.Decide(queue, kStart + 9 * kMs).due, kStart + 10 * kMs);
  EXPECT_EQ(kPolicy.Decide(queue, kStart + 10 * kMs).close_requests, 2u);
}

TEST(BatchPolicyTest, FullBatchClosesBeforeItsDelay) {
  const std::vector queue = {At(0, 2), At(1), At(1)};
  const BatchDecision decision = kPolicy.Decide(queue, kStart + kMs);
  EXPECT_EQ(decision.close_requests, 3u);
  EXPECT_EQ(decision.due, kStart + 10 * kMs);
}

TEST(BatchPolicyTest, OneRequestCanFillABatch) {
  EXPECT_EQ(kPolicy.Decide(std::vector{At(0, 4), At(0)}, kStart).close_requests, 1u);
}

TEST(BatchPolicyTest, ZeroDelayClosesWhatIsThere) {
  constexpr BatchPolicy at_once = {.max_rows = 4};
  EXPECT_EQ(at_once.Decide(std::vector{At(0)}, kStart).close_requests, 1u);
  EXPECT_EQ(at_once.Decide(std::vector{At(0), At(0), At(0)}, kStart).close_requests, 3u);
}

TEST(BatchPolicyTest, FirstThatDoesNotFitClosesTheBatchWithoutIt) {
  EXPECT_EQ(kPolicy.Decide(std::vector{At(0, 2), At(0, 3)}, kStart).close_requests, 1u);
}

TEST(BatchPolicyTest, NobodyOvertakesTheOneThatDoesNotFit) {
  EXPECT_EQ(kPolicy.Decide(std::vector{At(0, 3), At(0, 2), At(0, 1)}, kStart).close_requests, 1u);
}

TEST(BatchPolicyTest, NearestDeadlineClosesTheBatchInTimeToRun) {
  const std::vector queue = {At(0), At(1, 1, kStart + 6 * kMs), At(1)};
  EXPECT_EQ(kPolicy.Decide(queue, kStart + kMs).due, kStart + 4 * kMs);
  EXPECT_EQ(kPolicy.Decide(queue, kStart + 3 * kMs).close_requests, 0u);
  EXPECT_EQ(kPolicy.Decide(queue, kStart + 4 * kMs).close_requests, 3u);
}

TEST(BatchPolicyTest, DeadlineBeyondTheBatchDoesNotMakeItDue) {
  const std::vector queue = {At(0, 3), At(1, 2, kStart + 3 * kMs)};
  EXPECT_EQ(kPolicy.Decide(queue, kStart + 2 * kMs).due, kStart + 10 * kMs);
}

TEST(BatchPolicyTest, DeadlineThatIsTooNearClosesAtOnce) {
  EXPECT_EQ(kPolicy.Decide(std::vector{At(0, 1, kStart + kMs)}, kStart).close_requests, 1u);
}

}  // namespace
}  // namespace hachi::server
