// A run allocates nothing of its own. This binary counts the process's allocations, but for the few small
// ones in which oneDNN lists a call's arguments.
#include <gtest/gtest.h>

#include <atomic>
#include <cstdlib>
#include <new>

#include "engine/engine.h"
#include "tests/engine/demo_model.h"

namespace {

constexpr size_t kLargestArgumentList = 1024;  // bytes

std::atomic<int64_t> allocations = 0;  // counts by whatever thread

void* Allocate(size_t size, size_t alignment) {
  allocations += size > kLargestArgumentList;
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

namespace hachi {
namespace {

TEST(AllocationTest, NoRunAllocatesOnceTheContextHasRunBatchesOfItsSize) {
  const TestSet set = ReadTestSet();
  for (const Precision precision : {Precision::kInt8, Precision::kFp32}) {
    const auto model = LoadModel(DigitsOptions(precision));
    ASSERT_OK(model);
    const auto context = NewRunContext();
    std::vector<float> output(32 * 10);
    std::vector<Rows> requests(2);
    const auto run = [&](int64_t first, int64_t second) {
      requests[0].count = first;
      requests[1].count = second;
      for (Rows& request : requests) {
        request.inputs = {{set.images.bytes()}};
        request.outputs = {
            std::as_writable_bytes(std::span(output).first(static_cast<size_t>(request.count) * 10))};
      }
      const int64_t before = allocations;
      EXPECT_OK((*model)->Run(*context, requests));
      return allocations - before;
    };
    for (int64_t rows = 32; rows >= 2; --rows) run(1, rows - 1);
    for (int64_t rows = 32; rows >= 2; --rows) EXPECT_EQ(run(1, rows - 1), 0) << rows;
  }
}

}  // namespace
}  // namespace hachi
