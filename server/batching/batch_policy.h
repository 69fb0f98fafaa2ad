#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "absl/time/time.h"
#include "engine/engine.h"
#include "server/batching/run_estimates.h"
#include "server/metrics/metrics.h"

namespace hachi::server {

// What the policy sees of a waiting request.
struct Waiting {
  int64_t rows;
  absl::Time enqueued;
  absl::Time deadline;
};

// What it knows beside the queue.
struct Outlook {
  const RunEstimates& runs;

  // Until each of the other workers that may take this model is free, in ascending order; zero: it is.
  std::span<const absl::Duration> others = {};

  // From one request to the next, going by those of late; infinite: nobody else will come.
  absl::Duration arrival_gap = absl::InfiniteDuration();

  // Of the wide team, which runs while no worker does; null: there is none, or it may not run this model.
  const RunEstimates* wide_runs = nullptr;

  // Whether it is tried, whatever its runs are said to take, to see how it does, while all is idle.
  bool wide_is_tried = false;

  // When its last run ended. Who waits since before that came during the run.
  absl::Time wide_ended = absl::InfinitePast();

  // Requests a second for other models and shapes, going by those of late.
  double other_arrivals_per_s = 0;
};

struct BatchDecision {
  size_t close_requests = 0;  // from the queue's front; 0: hold the batch back
  Team team = Team::kWorker;  // who is to run it
  BatchReason reason = BatchReason::kWorkerFree;
  absl::Time hold_until = absl::InfiniteFuture();  // if nobody else comes; never, if nobody waits
};

// What a free worker does with a model's waiting requests: it takes its share at once, unless holding back
// pays, or the wide team answers them sooner.
struct BatchPolicy {
  int64_t max_rows = 1;
  absl::Duration max_delay;  // bounds how long a request is held back; zero: never

  // Pure: looks at nothing but its arguments. Requests keep their order; the first that does not fit closes
  // the batch. REQUIRES: none is larger than max_rows.
  BatchDecision Decide(std::span<const Waiting> queue, absl::Time now, const Outlook& outlook) const;

 private:
  // Of `rows` that wait, those to take now: at most so many that all workers finish together, and of those
  // what answers them soonest on average. Where runs gain nothing from company, that is one at a time.
  int64_t Share(int64_t rows, const Outlook& outlook) const;

  // The rows that the wide team is to take once all workers are free, where that answers the queue sooner
  // than workers would; nullopt: it doesn't.
  std::optional<int64_t> WideShare(std::span<const Waiting> queue, const Outlook& outlook) const;
};

}  // namespace hachi::server
