#pragma once

#include <cstdint>
#include <map>
#include <span>

#include "absl/time/time.h"
#include "engine/base/mutex.h"
#include "engine/engine.h"

namespace hachi::server {

// How often, and how long altogether.
struct DurationStatistic {
  uint64_t count = 0;
  uint64_t ns = 0;

  void Add(absl::Duration duration, uint64_t times = 1) {
    count += times;
    ns += static_cast<uint64_t>(absl::ToInt64Nanoseconds(duration)) * times;
  }
};

// Since the load, as the protocol's ModelStatistics has it. Of requests: success, fail, queue and the three
// compute durations (those of the batch that a request rode in), so their counts equal success.count. Of
// rows: inference_count. Of batches: execution_count and by_batch_rows.
struct StatisticsSnapshot {
  struct OfBatches {
    DurationStatistic compute_input, compute_infer, compute_output;
  };

  DurationStatistic success, fail, queue;
  DurationStatistic compute_input, compute_infer, compute_output;
  uint64_t inference_count = 0;
  uint64_t execution_count = 0;
  uint64_t last_inference_ms = 0;              // Unix time; 0: none yet
  std::map<int64_t, OfBatches> by_batch_rows;  // executions, by the batch's rows
};

// Counts what became of a model version's requests.
//
// Thread-safe.
class ModelStatistics {
 public:
  // One computed request of a batch: waited from enqueued to the start of the run.
  struct Computed {
    absl::Duration queue, total;
  };

  // A batch that ran: `rows` rows of the `requests`, ended at `now`.
  void RecordBatch(int64_t rows, std::span<const Computed> requests, const RunTimes& times, absl::Time now);

  // A request that was not answered with outputs, after `total`. Those that reached the scheduler are
  // recorded by it and by the executor; those refused before that, by whoever refused them.
  void RecordFailure(absl::Duration total);

  StatisticsSnapshot Snapshot() const;

 private:
  mutable Mutex mutex_;
  StatisticsSnapshot totals_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace hachi::server
