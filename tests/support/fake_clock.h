#pragma once

#include <atomic>

#include "absl/time/time.h"
#include "engine/base/clock.h"

namespace hachi {

// A clock that stands still until it is told to move.
//
// Thread-safe.
class FakeClock final : public Clock {
 public:
  absl::Time Now() const override { return absl::FromUnixNanos(unix_ns_.load()); }
  void Advance(absl::Duration duration) { unix_ns_ += absl::ToInt64Nanoseconds(duration); }

 private:
  std::atomic<int64_t> unix_ns_ = int64_t{1'700'000'000} * 1'000'000'000;  // atomic: read by any thread
};

}  // namespace hachi
