#include "server/daemon_memory.h"

#include <malloc.h>

#include <algorithm>
#include <chrono>
#include <utility>

namespace hachi::server {
namespace {

// A walk over the heap takes milliseconds a GiB, under the allocator's locks; so seldom it is lost in the
// noise. Guessed.
constexpr auto kLookEvery = std::chrono::seconds(5);
constexpr size_t kLeastBytes = size_t{64} << 20;

}  // namespace

MemoryReturner::MemoryReturner() : thread_([this] { Loop(); }) {}

MemoryReturner::~MemoryReturner() {
  {
    MutexLock lock(mutex_);
    stopping_ = true;
    changed_.NotifyAll();
  }
  thread_.join();
}

void MemoryReturner::Return() {
  MutexLock lock(mutex_);
  asked_ = true;
  changed_.NotifyAll();
}

void MemoryReturner::Loop() {
  size_t returned = 0;  // of what is free: it counts as free in the heap still
  MutexLock lock(mutex_);
  while (!stopping_) {
    if (!asked_) changed_.WaitFor(mutex_, kLookEvery);
    const size_t free = mallinfo2().fordblks;
    returned = std::min(returned, free);
    if (stopping_ || (!std::exchange(asked_, false) && free - returned < kLeastBytes)) continue;
    malloc_trim(/*pad=*/0);
    returned = free;
  }
}

}  // namespace hachi::server
