#pragma once

#include <cstddef>
#include <thread>

#include "engine/base/mutex.h"

namespace hachi::server {

// Gives memory that was freed after a peak back to the system, on a thread of its own: the allocator keeps it
// otherwise, for threads that may never ask for it again.
//
// Thread-safe.
class MemoryReturner {
 public:
  MemoryReturner();
  ~MemoryReturner();

  // At once, whatever there is: much was freed that nobody will ask for again, as by a load. Never blocks.
  void Return();

 private:
  void Loop();

  Mutex mutex_;
  CondVar changed_;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  bool asked_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

}  // namespace hachi::server
