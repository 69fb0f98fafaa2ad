#include "server/batching/batch_policy.h"

#include <algorithm>

namespace hachi::server {

BatchDecision BatchPolicy::Decide(std::span<const Waiting> queue, absl::Time now) const {
  BatchDecision decision = {.close_requests = 0, .due = absl::InfiniteFuture()};
  int64_t rows = 0;
  for (const Waiting& request : queue) {
    if (rows + request.rows > max_rows) {
      decision.close_requests = static_cast<size_t>(&request - queue.data());
      return decision;
    }
    rows += request.rows;
    decision.due = std::min({decision.due, request.enqueued + max_delay, request.deadline - expected_run});
  }
  if (rows == max_rows || decision.due <= now) decision.close_requests = queue.size();
  return decision;
}

}  // namespace hachi::server
