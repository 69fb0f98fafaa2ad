#include "server/models/model_statistics.h"

#include <gtest/gtest.h>

#include <thread>
#include <vector>

namespace hachi::server {
namespace {

constexpr RunTimes kTimes = {
    .gather = absl::Nanoseconds(1), .compute = absl::Nanoseconds(20), .scatter = absl::Nanoseconds(300)};

void ExpectIs(const DurationStatistic& statistic, uint64_t count, uint64_t ns) {
  EXPECT_EQ(statistic.count, count);
  EXPECT_EQ(statistic.ns, ns);
}

TEST(ModelStatisticsTest, NothingYet) {
  const StatisticsSnapshot snapshot = ModelStatistics().Snapshot();
  ExpectIs(snapshot.success, 0, 0);
  EXPECT_EQ(snapshot.last_inference_ms, 0u);
  EXPECT_TRUE(snapshot.by_batch_rows.empty());
}

TEST(ModelStatisticsTest, EachRequestIsCountedWithTheBatchItRodeIn) {
  ModelStatistics statistics;
  const std::vector<ModelStatistics::Computed> requests = {
      {.queue = absl::Nanoseconds(5), .total = absl::Nanoseconds(1000)},
      {.queue = absl::Nanoseconds(7), .total = absl::Nanoseconds(2000)}};
  statistics.RecordBatch(/*rows=*/3, requests, kTimes, absl::FromUnixMillis(1234));
  const StatisticsSnapshot snapshot = statistics.Snapshot();
  ExpectIs(snapshot.success, 2, 3000);
  ExpectIs(snapshot.queue, 2, 12);
  ExpectIs(snapshot.compute_input, 2, 2);
  ExpectIs(snapshot.compute_infer, 2, 40);
  ExpectIs(snapshot.compute_output, 2, 600);
  ExpectIs(snapshot.fail, 0, 0);
  EXPECT_EQ(snapshot.inference_count, 3u);
  EXPECT_EQ(snapshot.execution_count, 1u);
  EXPECT_EQ(snapshot.last_inference_ms, 1234u);
}

TEST(ModelStatisticsTest, BatchesAreCountedByTheirRows) {
  ModelStatistics statistics;
  const std::vector<ModelStatistics::Computed> one(1), two(2);
  statistics.RecordBatch(4, one, kTimes, absl::UnixEpoch());
  statistics.RecordBatch(4, two, kTimes, absl::UnixEpoch());
  statistics.RecordBatch(2, two, kTimes, absl::UnixEpoch());
  const StatisticsSnapshot snapshot = statistics.Snapshot();
  ASSERT_EQ(snapshot.by_batch_rows.size(), 2u);
  ExpectIs(snapshot.by_batch_rows.at(4).compute_input, 2, 2);
  ExpectIs(snapshot.by_batch_rows.at(4).compute_infer, 2, 40);
  ExpectIs(snapshot.by_batch_rows.at(2).compute_output, 1, 300);
  EXPECT_EQ(snapshot.inference_count, 10u);
  EXPECT_EQ(snapshot.execution_count, 3u);
}

TEST(ModelStatisticsTest, FailuresAreCountedApart) {
  ModelStatistics statistics;
  statistics.RecordFailure(absl::Nanoseconds(9));
  statistics.RecordFailure(absl::Nanoseconds(1));
  const StatisticsSnapshot snapshot = statistics.Snapshot();
  ExpectIs(snapshot.fail, 2, 10);
  ExpectIs(snapshot.success, 0, 0);
  EXPECT_EQ(snapshot.execution_count, 0u);
}

TEST(ModelStatisticsTest, SnapshotsAreConsistentWhileThreadsRecord) {
  ModelStatistics statistics;
  std::vector<std::thread> threads;
  for (int i = 0; i < 2; ++i) {
    threads.emplace_back([&] {
      const std::vector<ModelStatistics::Computed> requests(2);
      for (int j = 0; j < 500; ++j) statistics.RecordBatch(3, requests, kTimes, absl::UnixEpoch());
    });
  }
  uint64_t executions = 0;
  while (executions < 1000) {
    const StatisticsSnapshot snapshot = statistics.Snapshot();
    executions = snapshot.execution_count;
    EXPECT_EQ(snapshot.inference_count, 3 * executions);
    EXPECT_EQ(snapshot.success.count, 2 * executions);
    EXPECT_EQ(snapshot.compute_infer.ns, 40 * executions);
  }
  for (std::thread& thread : threads) thread.join();
}

}  // namespace
}  // namespace hachi::server
