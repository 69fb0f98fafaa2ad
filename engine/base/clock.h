#pragma once

#include "absl/time/time.h"

namespace hachi {

// Source of time for whatever waits or measures; tests replace it.
//
// Thread-safe.
class Clock {
 public:
  virtual ~Clock() = default;

  // Wall-clock time that never goes backwards: the wall clock read once, advanced by the steady clock.
  virtual absl::Time Now() const = 0;

  // The process's real clock; never destroyed.
  static const Clock& Real();
};

}  // namespace hachi
