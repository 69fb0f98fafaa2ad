#pragma once

#include <chrono>
#include <cstdint>

#include "absl/time/time.h"
#include "engine/base/mutex.h"

namespace hachi::server {

// Counts the inferences that a server has begun and not yet answered.
//
// Thread-safe.
class OpenCalls {
 public:
  void Add() {
    MutexLock lock(mutex_);
    ++count_;
  }
  void Remove() {
    MutexLock lock(mutex_);
    if (--count_ == 0) none_.NotifyAll();
  }

  // Returns when there are none, at the latest after `at_most`.
  bool WaitUntilNone(absl::Duration at_most) {
    const absl::Time end = absl::Now() + at_most;
    MutexLock lock(mutex_);
    while (count_ > 0 && absl::Now() < end)
      none_.WaitFor(mutex_, absl::ToChronoNanoseconds(end - absl::Now()));
    return count_ == 0;
  }

 private:
  Mutex mutex_;
  CondVar none_;
  int64_t count_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace hachi::server
