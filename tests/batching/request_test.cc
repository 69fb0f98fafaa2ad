#include "server/batching/request.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <thread>
#include <vector>

#include "tests/support/test_scheduler.h"

namespace hachi::server {
namespace {

TEST(ByteBudgetTest, GivesUpToItsLimitAndTakesBack) {
  Metrics metrics;
  ByteBudget budget(100, metrics.server().inflight_bytes);
  EXPECT_TRUE(budget.TryAcquire(60));
  EXPECT_FALSE(budget.TryAcquire(41));
  EXPECT_TRUE(budget.TryAcquire(40));
  EXPECT_EQ(metrics.server().inflight_bytes.Value(), 100);
  budget.Release(60);
  EXPECT_EQ(budget.used_bytes(), 40);
  EXPECT_EQ(metrics.server().inflight_bytes.Value(), 40);
}

TEST(ByteBudgetTest, ThreadsTogetherNeverExceedIt) {
  Metrics metrics;
  ByteBudget budget(3, metrics.server().inflight_bytes);
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      for (int j = 0; j < 1000; ++j) {
        if (!budget.TryAcquire(2)) continue;
        EXPECT_LE(budget.used_bytes(), 3);
        budget.Release(2);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(budget.used_bytes(), 0);
}

TEST(RequestTest, WantedOutputsGetTheirBytesAndTheOthersNone) {
  TestScheduler scheduler;
  const ServedModel model = scheduler.Serve();
  model.fake->set_signature(
      {.inputs = {{"x", DType::kF32, {4}}},
       .outputs = {{"a", DType::kU8, {3}}, {"b", DType::kF32, {2}}, {"c", DType::kF64, {}}},
       .batched = true});
  Request request;
  request.model = model.handle;
  request.rows.count = 5;
  const std::vector<int64_t> row = {4};
  request.rows.shapes = *model.fake->ShapesOf({&row, 1}, {});
  request.AllocateOutputs({true, false, true});
  ASSERT_EQ(request.rows.outputs.size(), 3u);
  EXPECT_EQ(request.rows.outputs[0].size(), 15u);
  EXPECT_TRUE(request.rows.outputs[1].empty());
  EXPECT_EQ(request.rows.outputs[2].size(), 40u);
  EXPECT_EQ(reinterpret_cast<uintptr_t>(request.rows.outputs[2].data()) % alignof(double), 0u);
}

}  // namespace
}  // namespace hachi::server
