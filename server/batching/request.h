#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "engine/engine.h"
#include "server/models/model_version.h"

namespace hachi::server {

// Bytes that requests hold, bounded for the whole server.
//
// Thread-safe.
class ByteBudget {
 public:
  ByteBudget(int64_t limit_bytes, prometheus::Gauge& used_metric)
      : limit_bytes_(limit_bytes), used_metric_(used_metric) {}

  bool TryAcquire(int64_t bytes);
  void Release(int64_t bytes);
  int64_t used_bytes() const { return used_bytes_.load(std::memory_order_relaxed); }
  int64_t limit_bytes() const { return limit_bytes_; }

 private:
  const int64_t limit_bytes_;
  prometheus::Gauge& used_metric_;
  std::atomic<int64_t> used_bytes_ = 0;  // only its own value matters: nothing else is published with it
};

// One inference call between decode and encode. The maker fills the first part and pushes it; from then until
// `done` the scheduler and the worker have it, and the maker may only Cancel it there.
//
// Thread-compatible.
struct Request {
  Request() = default;
  Request(const Request&) = delete;
  Request& operator=(const Request&) = delete;
  ~Request();

  // Allocates memory for the outputs whose `wanted` is true and points rows.outputs at it; the others stay
  // empty, and all do where a run finds how much there is (then rows.measured has them). It lives as long as
  // the request. REQUIRES: rows.count and rows.shapes are set; one flag an output.
  void AllocateOutputs(const std::vector<bool>& wanted);

  ModelHandle model;
  Rows rows;                               // fits the model's signature, shapes set: the maker has checked
  std::shared_ptr<const PlanSet> plans;    // those of rows.shapes; stays while a worker has the rows
  std::shared_ptr<const void> keep_alive;  // owns what rows.inputs point at
  int64_t bytes = 0;  // counted against the server's limit from Push until the request is destroyed, and
                      // what BatchScheduler::Reserve took of them before
  absl::Time deadline = absl::InfiniteFuture();

  // Called exactly once, by whichever thread ends the request (Push's caller too), without locks held. OK:
  // rows.outputs are filled. Else the code says what happened (see BatchScheduler), and no row was computed
  // unless it is INTERNAL. Must not block, nor push.
  std::function<void(absl::Status)> done;

  // Set by BatchScheduler.
  absl::Time enqueued;
  std::atomic<bool> cancelled = false;  // set by any thread; read whenever the request moves on
  std::shared_ptr<ByteBudget> budget;   // holds `held_bytes` of it; null: none
  int64_t held_bytes = 0;               // of `bytes`

 private:
  std::unique_ptr<std::byte[]> output_bytes_;
  std::vector<MeasuredOutput> measured_;
};

}  // namespace hachi::server
