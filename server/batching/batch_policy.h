#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "absl/time/time.h"

namespace hachi::server {

// What the policy sees of a waiting request.
struct Waiting {
  int64_t rows;
  absl::Time enqueued;
  absl::Time deadline;
};

struct BatchDecision {
  size_t close_requests = 0;  // from the queue's front; 0: wait
  absl::Time due;  // when the batch was, or will be, due if nobody else comes; never, if nobody waits
};

// When a model's waiting requests become a batch.
struct BatchPolicy {
  int64_t max_rows = 1;
  absl::Duration max_delay;     // zero: never wait for company
  absl::Duration expected_run;  // a batch closes this long before the nearest deadline in it

  // Pure: looks at nothing but its arguments. Requests keep their order; the first that does not fit closes
  // the batch. REQUIRES: none is larger than max_rows.
  BatchDecision Decide(std::span<const Waiting> queue, absl::Time now) const;
};

}  // namespace hachi::server
