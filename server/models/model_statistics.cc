#include "server/models/model_statistics.h"

namespace hachi::server {

void ModelStatistics::RecordBatch(int64_t rows, std::span<const Computed> requests, const RunTimes& times,
                                  absl::Time now) {
  MutexLock lock(mutex_);
  for (const Computed& request : requests) {
    totals_.success.Add(request.total);
    totals_.queue.Add(request.queue);
  }
  totals_.compute_input.Add(times.gather, requests.size());
  totals_.compute_infer.Add(times.compute, requests.size());
  totals_.compute_output.Add(times.scatter, requests.size());
  totals_.inference_count += static_cast<uint64_t>(rows);
  ++totals_.execution_count;
  totals_.last_inference_ms = static_cast<uint64_t>(absl::ToUnixMillis(now));

  StatisticsSnapshot::OfBatches& batches = totals_.by_batch_rows[rows];
  batches.compute_input.Add(times.gather);
  batches.compute_infer.Add(times.compute);
  batches.compute_output.Add(times.scatter);
}

void ModelStatistics::RecordFailure(absl::Duration total) {
  MutexLock lock(mutex_);
  totals_.fail.Add(total);
}

StatisticsSnapshot ModelStatistics::Snapshot() const {
  MutexLock lock(mutex_);
  return totals_;
}

}  // namespace hachi::server
