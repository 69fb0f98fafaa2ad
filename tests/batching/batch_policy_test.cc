#include "server/batching/batch_policy.h"

#include <gtest/gtest.h>

#include <vector>

namespace hachi::server {
namespace {

constexpr absl::Duration kMs = absl::Milliseconds(1);
constexpr absl::Duration kNow = absl::ZeroDuration();  // until a worker is free
constexpr absl::Time kStart = absl::UnixEpoch();

// A request that came `ms` after the start.
Waiting At(int ms, int64_t rows = 1, absl::Time deadline = absl::InfiniteFuture()) {
  return {.rows = rows, .enqueued = kStart + absl::Milliseconds(ms), .deadline = deadline};
}

std::vector<Waiting> Rows(int count) { return std::vector<Waiting>(static_cast<size_t>(count), At(0)); }

// A run takes a millisecond a row, and the first number more whatever its rows.
RunEstimates Runs(int fixed_ms, int row_ms = 1) {
  return RunEstimates({{1, (fixed_ms + row_ms) * kMs}, {100, (fixed_ms + 100 * row_ms) * kMs}});
}

const RunEstimates kSteady = Runs(0);   // nothing is won by company
const RunEstimates kCostly = Runs(20);  // a batch costs as much as twenty rows
const RunEstimates kUnknown;

const BatchPolicy kPolicy = {.max_rows = 4, .max_delay = 10 * kMs};

size_t Closes(const std::vector<Waiting>& queue, const Outlook& outlook) {
  return kPolicy.Decide(queue, kStart, outlook).close_requests;
}

TEST(BatchPolicyTest, NobodyWaitsForever) {
  const BatchDecision decision = kPolicy.Decide({}, kStart, {.runs = kSteady});
  EXPECT_EQ(decision.close_requests, 0u);
  EXPECT_EQ(decision.hold_until, absl::InfiniteFuture());
}

TEST(BatchPolicyTest, LoneRequestRunsAtOnce) {
  const BatchDecision decision = kPolicy.Decide(Rows(1), kStart, {.runs = kSteady, .arrival_gap = kMs});
  EXPECT_EQ(decision.close_requests, 1u);
  EXPECT_EQ(decision.reason, BatchReason::kWorkerFree);
}

TEST(BatchPolicyTest, LoneWorkerTakesAllThatFitsWhereRunsAreDear) {
  EXPECT_EQ(Closes(Rows(3), {.runs = kCostly}), 3u);
  EXPECT_EQ(Closes(Rows(9), {.runs = kCostly}), 4u);
}

TEST(BatchPolicyTest, RowsThatGainNothingTogetherRunOneByOne) {
  EXPECT_EQ(Closes(Rows(3), {.runs = kSteady}), 1u);
  EXPECT_EQ(Closes(Rows(9), {.runs = kSteady}), 1u);
}

TEST(BatchPolicyTest, LongerQueuesMakeLargerBatches) {
  // A run costs as much as one row by itself: of 2 rows both are soonest one by one, of 4 in pairs.
  const RunEstimates runs = Runs(1);
  EXPECT_EQ(Closes(Rows(1), {.runs = runs}), 1u);
  EXPECT_EQ(Closes(Rows(4), {.runs = runs}), 2u);
  EXPECT_EQ(Closes(Rows(16), {.runs = runs}), 4u);
}

TEST(BatchPolicyTest, FullBatchSaysSo) {
  EXPECT_EQ(kPolicy.Decide(Rows(4), kStart, {.runs = kCostly}).reason, BatchReason::kFull);
  EXPECT_EQ(kPolicy.Decide(std::vector{At(0, 3), At(0, 2)}, kStart, {.runs = kCostly}).reason,
            BatchReason::kFull);
}

TEST(BatchPolicyTest, OneRequestCanFillABatch) {
  EXPECT_EQ(Closes({At(0, 4), At(0)}, {.runs = kCostly}), 1u);
}

TEST(BatchPolicyTest, FirstThatDoesNotFitClosesTheBatchWithoutIt) {
  EXPECT_EQ(Closes({At(0, 2), At(0, 3)}, {.runs = kCostly}), 1u);
}

TEST(BatchPolicyTest, NobodyOvertakesTheOneThatDoesNotFit) {
  EXPECT_EQ(Closes({At(0, 3), At(0, 2), At(0, 1)}, {.runs = kCostly}), 1u);
}

TEST(BatchPolicyTest, FreeWorkersShareWhatWaits) {
  EXPECT_EQ(Closes(Rows(4), {.runs = kCostly, .others = std::vector{kNow}}), 2u);
  EXPECT_EQ(Closes(Rows(4), {.runs = kCostly, .others = std::vector{kNow, kNow, kNow}}), 1u);
  EXPECT_EQ(Closes(Rows(3), {.runs = kCostly, .others = std::vector{kNow}}), 2u);
}

TEST(BatchPolicyTest, ShareCountsWhatABusyWorkerHasLeft) {
  EXPECT_EQ(Closes(Rows(4), {.runs = kCostly, .others = std::vector{2 * kMs}}), 3u);
  EXPECT_EQ(Closes(Rows(4), {.runs = kCostly, .others = std::vector{9 * kMs}}), 4u);
}

TEST(BatchPolicyTest, RunsThatTakeTheSameHoweverManyRowsAreNotSplit) {
  const RunEstimates same({{4, 7 * kMs}});
  EXPECT_EQ(Closes(Rows(4), {.runs = same, .others = std::vector{kMs}}), 4u);
}

TEST(BatchPolicyTest, BeyondAllWorkersEachTakesAFullBatch) {
  EXPECT_EQ(Closes(Rows(12), {.runs = kCostly, .others = std::vector{kNow}}), 4u);
}

TEST(BatchPolicyTest, UnknownRunsShareByCount) {
  EXPECT_EQ(Closes(Rows(1), {.runs = kUnknown, .arrival_gap = kNow}), 1u);
  EXPECT_EQ(Closes(Rows(4), {.runs = kUnknown}), 4u);
}

// Alone, the first row takes 21 ms, and whoever comes meanwhile waits for it; the two together take 22.
const Outlook kWorthHolding = {.runs = kCostly, .arrival_gap = kMs};

TEST(BatchPolicyTest, HoldsBackWhereTheNextIsNearAndARunIsDear) {
  const BatchDecision decision = kPolicy.Decide(Rows(1), kStart, kWorthHolding);
  EXPECT_EQ(decision.close_requests, 0u);
  EXPECT_EQ(decision.hold_until, kStart + 2 * kMs);
}

TEST(BatchPolicyTest, HoldsNobodyBackWhereTheNextIsFar) {
  EXPECT_EQ(Closes(Rows(1), {.runs = kCostly, .arrival_gap = 50 * kMs}), 1u);
  EXPECT_EQ(Closes(Rows(1), {.runs = kCostly}), 1u);
}

TEST(BatchPolicyTest, HoldsNobodyBackWhereRunsAreCheap) {
  EXPECT_EQ(Closes(Rows(1), {.runs = kSteady, .arrival_gap = absl::Microseconds(1)}), 1u);
}

TEST(BatchPolicyTest, HoldsNobodyBackWhileAnotherWorkerIsFree) {
  EXPECT_EQ(Closes(Rows(1), {.runs = kCostly, .others = std::vector{kNow}, .arrival_gap = kMs}), 1u);
}

TEST(BatchPolicyTest, GivesUpWhenNobodyCame) {
  const BatchDecision decision = kPolicy.Decide(Rows(1), kStart + 2 * kMs, kWorthHolding);
  EXPECT_EQ(decision.close_requests, 1u);
  EXPECT_EQ(decision.reason, BatchReason::kDelayOver);
}

TEST(BatchPolicyTest, MaxDelayBoundsTheHoldingOfTheOldest) {
  const std::vector queue = {At(0), At(9)};
  EXPECT_EQ(kPolicy.Decide(queue, kStart + 9 * kMs, kWorthHolding).hold_until, kStart + 10 * kMs);
  EXPECT_EQ(kPolicy.Decide(queue, kStart + 10 * kMs, kWorthHolding).close_requests, 2u);
}

TEST(BatchPolicyTest, ZeroDelayNeverHoldsBack) {
  constexpr BatchPolicy at_once = {.max_rows = 4};
  EXPECT_EQ(at_once.Decide(Rows(1), kStart, kWorthHolding).close_requests, 1u);
}

TEST(BatchPolicyTest, NearestDeadlineEndsTheHoldingInTimeToRun) {
  const std::vector queue = {At(0), At(0, 1, kStart + 23 * kMs)};
  EXPECT_EQ(kPolicy.Decide(queue, kStart, kWorthHolding).hold_until, kStart + kMs);
  const BatchDecision decision = kPolicy.Decide(queue, kStart + kMs, kWorthHolding);
  EXPECT_EQ(decision.close_requests, 2u);
  EXPECT_EQ(decision.reason, BatchReason::kDeadlineNear);
}

// A row takes a worker 10 ms, and the wide team of four cores 4 ms.
const RunEstimates kNarrow = Runs(0, 10), kWide = Runs(0, 4);
const std::vector<absl::Duration> kThreeIdle(3, kNow);

BatchDecision WithWideTeam(const std::vector<Waiting>& queue, Outlook outlook = {.runs = kNarrow}) {
  outlook.wide_runs = &kWide;
  if (outlook.others.empty()) outlook.others = kThreeIdle;
  return kPolicy.Decide(queue, kStart, outlook);
}

TEST(BatchPolicyTest, LoneRequestRunsOnAllCores) {
  const BatchDecision decision = WithWideTeam(Rows(1));
  EXPECT_EQ(decision.team, Team::kWide);
  EXPECT_EQ(decision.close_requests, 1u);
}

TEST(BatchPolicyTest, WithoutAWideTeamTheLoneRequestRunsOnAWorker) {
  EXPECT_EQ(kPolicy.Decide(Rows(1), kStart, {.runs = kNarrow, .others = kThreeIdle}).team, Team::kWorker);
}

TEST(BatchPolicyTest, RequestsForAllWorkersRunThere) { EXPECT_EQ(WithWideTeam(Rows(4)).team, Team::kWorker); }

TEST(BatchPolicyTest, LoneBatchOfManyRowsRunsOnAllCores) {
  const BatchDecision decision = WithWideTeam({At(0, 4)});
  EXPECT_EQ(decision.team, Team::kWide);
  EXPECT_EQ(decision.close_requests, 1u);
}

TEST(BatchPolicyTest, WideTeamWaitsForAWorkerThatIsNearlyDone) {
  const std::vector others = {kNow, kNow, 2 * kMs};
  const BatchDecision decision = WithWideTeam(Rows(1), {.runs = kNarrow, .others = others});
  EXPECT_EQ(decision.close_requests, 0u);
  EXPECT_EQ(decision.hold_until, kStart + 2 * kMs);
}

TEST(BatchPolicyTest, NobodyWaitsForAWorkerThatNeedsLonger) {
  const std::vector others = {kNow, kNow, 9 * kMs};
  EXPECT_EQ(WithWideTeam(Rows(1), {.runs = kNarrow, .others = others}).team, Team::kWorker);
  EXPECT_EQ(WithWideTeam(Rows(1), {.runs = kNarrow, .others = others}).close_requests, 1u);
}

TEST(BatchPolicyTest, NearDeadlineDoesNotWaitForTheWideTeam) {
  const std::vector others = {kNow, kNow, 2 * kMs};
  const Waiting request = At(0, 1, kStart + 5 * kMs);
  EXPECT_EQ(WithWideTeam({request}, {.runs = kNarrow, .others = others}).close_requests, 1u);
}

TEST(BatchPolicyTest, WideTeamThatGainsLittleIsNotWorthTheMachine) {
  EXPECT_EQ(WithWideTeam(Rows(1), {.runs = kNarrow}).team, Team::kWide);
  EXPECT_EQ(WithWideTeam(Rows(1), {.runs = kWide}).team, Team::kWorker);
}

TEST(BatchPolicyTest, WideTeamIsTriedHoweverSlowItWas) {
  const RunEstimates far_less = Runs(0, 0.1);
  EXPECT_EQ(WithWideTeam(Rows(1), {.runs = far_less}).team, Team::kWorker);
  EXPECT_EQ(WithWideTeam(Rows(1), {.runs = far_less, .wide_is_tried = true}).team, Team::kWide);
}

TEST(BatchPolicyTest, WhoCameDuringTheLastWideRunGivesWayToTheNext) {
  const RunEstimates twice = Runs(0, 8), often = Runs(0, 20);
  const absl::Time ended = kStart + kMs;
  EXPECT_EQ(WithWideTeam(Rows(1), {.runs = twice, .wide_ended = ended}).team, Team::kWorker);
  EXPECT_EQ(WithWideTeam(Rows(1), {.runs = often, .wide_ended = ended}).team, Team::kWide);
}

TEST(BatchPolicyTest, WideRunKeepsOtherModelsWaiting) {
  EXPECT_EQ(WithWideTeam(Rows(1), {.runs = kNarrow, .other_arrivals_per_s = 100}).team, Team::kWide);
  EXPECT_EQ(WithWideTeam(Rows(1), {.runs = kNarrow, .other_arrivals_per_s = 1000}).team, Team::kWorker);
}

TEST(BatchPolicyTest, FullBatchIsNotHeldBack) { EXPECT_EQ(Closes(Rows(4), kWorthHolding), 4u); }

}  // namespace
}  // namespace hachi::server
