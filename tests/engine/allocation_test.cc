// A run allocates nothing of its own, but for the few small lists in which oneDNN takes a call's arguments.
#include <gtest/gtest.h>

#include "engine/engine.h"
#include "tests/engine/demo_model.h"
#include "tests/support/allocations.h"

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
      const int64_t before = CountAllocations().large;
      EXPECT_OK((*model)->Run(*context, requests));
      return CountAllocations().large - before;
    };
    for (int64_t rows = 32; rows >= 2; --rows) run(1, rows - 1);
    for (int64_t rows = 32; rows >= 2; --rows) EXPECT_EQ(run(1, rows - 1), 0) << rows;
  }
}

}  // namespace
}  // namespace hachi
