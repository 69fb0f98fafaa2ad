#include "tests/support/allocations.h"

#include <atomic>
#include <cstdlib>
#include <new>

namespace {

// Counts by whatever thread; nothing else depends on their order.
std::atomic<int64_t> all = 0, large = 0;

}  // namespace

#ifndef __SANITIZE_ADDRESS__

namespace {

constexpr size_t kLargestArgumentList = 1024;  // bytes

void* Allocate(size_t size, size_t alignment) {
  ++all;
  large += size > kLargestArgumentList;
  void* memory = std::aligned_alloc(alignment, (size + alignment - 1) / alignment * alignment);
  if (memory == nullptr) std::abort();
  return memory;
}

}  // namespace

void* operator new(size_t size) { return Allocate(size, 16); }
void* operator new(size_t size, std::align_val_t alignment) {
  return Allocate(size, static_cast<size_t>(alignment));
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, size_t) noexcept { std::free(memory); }
void operator delete(void* memory, std::align_val_t) noexcept { std::free(memory); }
void operator delete(void* memory, size_t, std::align_val_t) noexcept { std::free(memory); }

#endif

namespace hachi {

Allocations CountAllocations() { return {all, large}; }

}  // namespace hachi
