#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"

namespace hachi::server {

// How much load to offer. REQUIRES: exactly one of concurrency and rate, at least one of requests and
// seconds; all positive where set.
struct LoadLoopOptions {
  int64_t concurrency = 0;     // closed loop: this many requests in flight, the next one when one is answered
  double rate_per_second = 0;  // open loop: one every 1/rate seconds, whatever the answers do
  bool poisson = false;        // open loop: gaps are random (exponential, seeded) with that mean
  std::optional<int64_t> requests = {};         // stop after this many were sent
  std::optional<absl::Duration> duration = {};  // stop sending after this long
};

struct LoadReport {
  int64_t sent = 0, succeeded = 0, different = 0;
  std::map<absl::StatusCode, int64_t> errors;
  std::map<absl::StatusCode, std::string> first_message;  // of each code in `errors`
  absl::Duration elapsed;                                 // from the first intended send to the last answer
  std::vector<absl::Duration> latencies;                  // of requests that succeeded, ascending

  double throughput_per_second() const;
  // The latency that the share `p` of [0, 1] of the requests did not exceed; zero when there are none.
  absl::Duration Percentile(double p) const;
};

enum class Verdict { kSame, kDifferent };

// Told how request `index` ended: an error, or an answer and whether it was the expected one.
using LoadDone = std::function<void(const absl::Status& status, Verdict verdict)>;

// Starts request `index` and returns at once; calls `done` once, later, from any thread.
using LoadSend = std::function<void(int64_t index, LoadDone done)>;

// Sends requests 0, 1, 2, ... as the options say and waits for every answer. A latency counts from the
// moment when the request was due, not from when it was really sent: an open loop that falls behind does not
// hide the wait. `progress` is told the number of answers about once a second; it may be empty.
LoadReport RunLoadLoop(const LoadLoopOptions& options, const LoadSend& send,
                       const std::function<void(int64_t answered)>& progress);

}  // namespace hachi::server
