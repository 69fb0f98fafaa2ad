#include "server/executor/executor.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "engine/base/mutex.h"
#include "engine/cpu/team.h"
#include "tests/support/status_matchers.h"
#include "tests/support/test_scheduler.h"

namespace hachi::server {
namespace {

using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::SizeIs;
using ::testing::UnorderedElementsAre;

constexpr absl::Duration kMs = absl::Milliseconds(1);

Executor::Options OptionsFor(TestScheduler& scheduler, int workers) {
  return {.workers = workers,
          .scheduler = scheduler.get(),
          .new_context = [](Team) { return std::make_unique<FakeRunContext>(); },
          .clock = &scheduler.clock()};
}

// Workers for a scheduler, stopped and joined at the end of a test.
class TestExecutor {
 public:
  TestExecutor(TestScheduler& scheduler, int workers)
      : TestExecutor(scheduler, OptionsFor(scheduler, workers)) {}
  TestExecutor(TestScheduler& scheduler, const Executor::Options& options)
      : scheduler_(scheduler), executor_(std::in_place, options) {}
  ~TestExecutor() { Drain(); }

  // Returns when all that was pushed has ended.
  void Drain() {
    scheduler_->Stop();
    executor_.reset();
  }

 private:
  TestScheduler& scheduler_;
  std::optional<Executor> executor_;
};

TEST(ExecutorTest, EachRequestGetsItsOwnAnswer) {
  TestScheduler scheduler;
  const ServedModel model = scheduler.Serve();
  const Call a(model, {.fill = 1}), b(model, {.rows = 2, .fill = 3}), c(model, {.fill = 5}),
      d(model, {.fill = 7});
  for (const Call* call : {&a, &b, &c, &d}) scheduler->Push(call->request());
  const TestExecutor executor(scheduler, /*workers=*/1);
  for (const Call* call : {&a, &b, &c, &d}) {
    EXPECT_OK(call->Wait());
    EXPECT_TRUE(call->HasItsAnswer());
  }
  EXPECT_THAT(model.fake->batch_rows(), ElementsAre(4, 1));
}

TEST(ExecutorTest, WorkersRunOneModelTogether) {
  TestScheduler scheduler;
  const ServedModel model = scheduler.Serve();
  const TestExecutor executor(scheduler, /*workers=*/3);
  model.fake->Block();
  std::deque<Call> calls;
  for (int i = 0; i < 3; ++i) {
    scheduler->Push(calls.emplace_back(model).request());
    model.fake->WaitForRuns(i + 1);
  }
  EXPECT_EQ(model.fake->most_concurrent_runs(), 3);
  model.fake->Unblock();
  for (const Call& call : calls) EXPECT_OK(call.Wait());
}

TEST(ExecutorTest, SlowModelDoesNotHoldUpAnother) {
  TestScheduler scheduler;
  const ServedModel slow = scheduler.Serve({.name = "slow", .instances = 1});
  const ServedModel quick = scheduler.Serve({.name = "quick"});
  const TestExecutor executor(scheduler, /*workers=*/2);
  slow.fake->Block();
  const Call first(slow), second(slow), beside(quick);
  scheduler->Push(first.request());
  slow.fake->WaitForRuns(1);
  scheduler->Push(second.request());
  scheduler->Push(beside.request());
  EXPECT_OK(beside.Wait());
  slow.fake->Unblock();
  EXPECT_OK(second.Wait());
  EXPECT_EQ(slow.fake->most_concurrent_runs(), 1);
}

TEST(ExecutorTest, FailingRunEndsItsRequestsInternalAndNoOthers) {
  TestScheduler scheduler;
  const ServedModel bad = scheduler.Serve({.name = "bad"}), good = scheduler.Serve({.name = "good"});
  bad.fake->FailWith(absl::InternalError("step 'conv1': refused"));
  const Call a(bad), b(bad), beside(good);
  for (const Call* call : {&a, &b, &beside}) scheduler->Push(call->request());
  const TestExecutor executor(scheduler, /*workers=*/1);
  for (const Call* call : {&a, &b}) {
    EXPECT_THAT(call->Wait(),
                StatusIs(absl::StatusCode::kInternal, "model 'bad': the run failed: step 'conv1': refused"));
  }
  EXPECT_OK(beside.Wait());
  EXPECT_EQ(bad.handle->statistics().Snapshot().fail.count, 2u);
  EXPECT_EQ(bad.handle->statistics().Snapshot().execution_count, 0u);

  bad.fake->FailWith(absl::OkStatus());
  const Call after(bad);
  scheduler->Push(after.request());
  EXPECT_OK(after.Wait());
}

TEST(ExecutorTest, EngineErrorOfAnyCodeIsInternal) {
  TestScheduler scheduler;
  const ServedModel model = scheduler.Serve();
  model.fake->FailWith(absl::InvalidArgumentError("rows"));
  const TestExecutor executor(scheduler, /*workers=*/0);
  const Call call(model);
  scheduler->Push(call.request());
  EXPECT_THAT(call.Wait(), StatusIs(absl::StatusCode::kInternal, HasSubstr("rows")));
}

TEST(ExecutorTest, DeadInTheQueueAreNeverComputed) {
  TestScheduler scheduler;
  const ServedModel model = scheduler.Serve();
  const TestExecutor executor(scheduler, /*workers=*/1);
  model.fake->Block();
  const Call running(model), expires(model, {.deadline = scheduler.clock().Now() + kMs}), cancelled(model),
      stays(model);
  scheduler->Push(running.request());
  model.fake->WaitForRuns(1);
  for (const Call* call : {&expires, &cancelled, &stays}) scheduler->Push(call->request());
  scheduler.clock().Advance(kMs);
  scheduler->Cancel(cancelled.request());
  model.fake->Unblock();
  EXPECT_OK(stays.Wait());
  EXPECT_THAT(expires.Wait(), StatusIs(absl::StatusCode::kDeadlineExceeded));
  EXPECT_THAT(cancelled.Wait(), StatusIs(absl::StatusCode::kCancelled));
  EXPECT_EQ(model.fake->rows_computed(), 2);
  EXPECT_EQ(model.handle->metrics().expired_rows_computed_total.Value(), 0);
}

// A clock that moves on by a millisecond whenever it is looked at.
class TickingClock final : public Clock {
 public:
  absl::Time Now() const override { return absl::UnixEpoch() + absl::Milliseconds(++ticks_); }

 private:
  mutable std::atomic<int64_t> ticks_ = 0;
};

TEST(ExecutorTest, WheneverADeadlinePassesItsRowsAreComputedAndAnsweredOrNeither) {
  const TickingClock clock;
  TestScheduler scheduler({.inflight_bytes = 0, .clock = &clock});
  const ServedModel model = scheduler.Serve();
  Executor::Options options = OptionsFor(scheduler, /*workers=*/0);
  options.clock = &clock;
  const TestExecutor executor(scheduler, options);
  int answered = 0;
  for (int ms = 1; ms <= 20; ++ms) {
    const Call call(model, {.deadline = clock.Now() + absl::Milliseconds(ms)});
    scheduler->Push(call.request());
    EXPECT_EQ(call.ends(), 1);
    answered += call.Wait().ok();
    EXPECT_EQ(model.fake->rows_computed(), answered) << ms;
  }
  EXPECT_GT(answered, 0);
  EXPECT_GT(model.refused_rows(Refusal::kDeadline), 0);
  EXPECT_EQ(model.handle->metrics().expired_rows_computed_total.Value(), 0);
}

TEST(ExecutorTest, ZeroWorkersRunOnThePushingThreadAtOnce) {
  TestScheduler scheduler;
  const ServedModel model = scheduler.Serve({.batching = {.max_batch_rows = 4, .max_delay = absl::Hours(1)}});
  const TestExecutor executor(scheduler, /*workers=*/0);
  const Call call(model, {.rows = 3, .fill = 9});
  scheduler->Push(call.request());
  EXPECT_EQ(call.ends(), 1);
  EXPECT_OK(call.Wait());
  EXPECT_TRUE(call.HasItsAnswer());
}

TEST(ExecutorTest, ZeroWorkersServeSeveralThreads) {
  TestScheduler scheduler;
  const ServedModel model = scheduler.Serve({.instances = 1});
  const TestExecutor executor(scheduler, /*workers=*/0);
  std::vector<std::thread> threads;
  for (int i = 0; i < 3; ++i) {
    threads.emplace_back([&] {
      for (int j = 0; j < 50; ++j) {
        const Call call(model);
        scheduler->Push(call.request());
        EXPECT_OK(call.Wait());
        EXPECT_TRUE(call.HasItsAnswer());
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(model.fake->rows_computed(), 150);
  EXPECT_EQ(model.fake->most_concurrent_runs(), 1);
}

TEST(ExecutorTest, EachWorkerStartsOnceWithItsTeamAndAContextOfItsOwn) {
  TestScheduler scheduler;
  Mutex mutex;
  std::vector<int> workers, teams;
  std::atomic<int> contexts = 0;
  Executor::Options options = OptionsFor(scheduler, /*workers=*/3);
  options.threads_per_worker = 2;
  options.on_start = [&](int worker) {
    MutexLock lock(mutex);
    workers.push_back(worker);
    teams.push_back(TeamSize());
  };
  options.new_context = [&](Team) {
    ++contexts;
    return std::make_unique<FakeRunContext>();
  };
  TestExecutor(scheduler, options).Drain();
  EXPECT_THAT(workers, UnorderedElementsAre(0, 1, 2));
  EXPECT_THAT(teams, Each(2));
  EXPECT_EQ(contexts, 3);
}

TEST(ExecutorTest, WideTeamRunsLoneRequestsAndErrands) {
  TestScheduler scheduler({.workers = 2, .has_wide_team = true});
  const ServedModel model = scheduler.Serve();
  model.fake->set_run_times({{1, 9 * kMs}});
  model.fake->set_wide_run_times({{1, 3 * kMs}});
  std::atomic<int> wide_contexts = 0, team_of_errand = 0;
  Executor::Options options = OptionsFor(scheduler, /*workers=*/2);
  options.wide_threads = 3;
  options.new_context = [&](Team team) {
    wide_contexts += team == Team::kWide;
    return std::make_unique<FakeRunContext>();
  };
  const Call call(model);
  TestExecutor executor(scheduler, options);
  scheduler->Push(call.request());
  EXPECT_OK(call.Wait());
  scheduler->RunOnWideTeam([&] { team_of_errand = TeamSize(); });
  while (team_of_errand == 0) std::this_thread::yield();
  EXPECT_EQ(team_of_errand, 3);
  EXPECT_EQ(wide_contexts, 1);
  EXPECT_EQ(model.handle->metrics().wide_batches_total.Value(), 1);
}

TEST(ExecutorTest, DrainAnswersAllThatWasQueued) {
  TestScheduler scheduler;
  const ServedModel model =
      scheduler.Serve({.batching = {.max_batch_rows = 4, .max_delay = absl::Hours(1), .max_queue_rows = 100},
                       .instances = 1});
  std::deque<Call> calls;
  for (int i = 0; i < 30; ++i) scheduler->Push(calls.emplace_back(model).request());
  TestExecutor(scheduler, /*workers=*/3).Drain();
  for (const Call& call : calls) {
    ASSERT_EQ(call.ends(), 1);
    EXPECT_OK(call.Wait());
  }
  EXPECT_EQ(model.fake->rows_computed(), 30);
}

TEST(ExecutorTest, RunIsRecordedInMetricsAndStatistics) {
  TestScheduler scheduler;
  const ServedModel model = scheduler.Serve();
  model.fake->set_times({.gather = kMs, .compute = 20 * kMs, .scatter = 3 * kMs});
  const Call a(model, {.rows = 3}), b(model);
  scheduler->Push(a.request());
  scheduler.clock().Advance(5 * kMs);
  scheduler->Push(b.request());
  scheduler.clock().Advance(kMs);
  TestExecutor(scheduler, /*workers=*/1).Drain();
  const StatisticsSnapshot statistics = model.handle->statistics().Snapshot();
  EXPECT_EQ(statistics.success.count, 2u);
  EXPECT_EQ(statistics.queue.ns, 7'000'000u);
  EXPECT_EQ(statistics.compute_infer.ns, 40'000'000u);
  EXPECT_EQ(statistics.inference_count, 4u);
  EXPECT_EQ(statistics.execution_count, 1u);
  const std::string page = scheduler.metrics().Text();
  const std::string labels = "{model=\"m\",version=\"1\"} ";
  for (const std::string& line :
       {"hachi_batch_rows_sum" + labels + "4\n", "hachi_batch_rows_count" + labels + "1\n",
        "hachi_queue_duration_seconds_count" + labels + "2\n",
        "hachi_gather_duration_seconds_sum" + labels + "0.001\n",
        "hachi_compute_duration_seconds_sum" + labels + "0.02\n",
        "hachi_scatter_duration_seconds_sum" + labels + "0.003\n"}) {
    EXPECT_THAT(page, HasSubstr(line));
  }
}

TEST(ExecutorTest, KeepsNoVersionAfterItsRequestsHaveEnded) {
  TestScheduler scheduler;
  ServedModel model = scheduler.Serve();
  const TestExecutor executor(scheduler, /*workers=*/0);
  scheduler->Push(Call(model).request());
  const std::weak_ptr<ModelVersion> version = model.handle;
  model.handle = nullptr;
  EXPECT_TRUE(version.expired());
}

TEST(ExecutorTest, ManyThreadsAndModelsAnswerEveryRequestCorrectly) {
  constexpr int kPushers = 3, kRequests = 100;
  TestScheduler scheduler({.inflight_bytes = 0, .clock = &Clock::Real()});
  const BatchingConfig batching = {
      .max_batch_rows = 4, .max_delay = absl::Microseconds(100), .max_queue_rows = 1000};
  const std::vector<ServedModel> models = {
      scheduler.Serve({.name = "a", .batching = batching, .instances = 1}),
      scheduler.Serve({.name = "b", .batching = batching})};
  Executor::Options options = OptionsFor(scheduler, /*workers=*/3);
  options.clock = &Clock::Real();
  TestExecutor executor(scheduler, options);
  std::vector<std::deque<Call>> calls(kPushers);
  std::vector<std::thread> pushers;
  for (int i = 0; i < kPushers; ++i) {
    pushers.emplace_back([&, i] {
      for (int j = 0; j < kRequests; ++j) {
        const Call& call = calls[i].emplace_back(
            models[j % 2], CallOptions{.rows = 1 + j % 4, .fill = static_cast<uint8_t>(i * kRequests + j)});
        scheduler->Push(call.request());
      }
    });
  }
  for (std::thread& pusher : pushers) pusher.join();
  executor.Drain();
  for (const std::deque<Call>& of_pusher : calls) {
    ASSERT_THAT(of_pusher, SizeIs(kRequests));
    for (const Call& call : of_pusher) {
      ASSERT_EQ(call.ends(), 1);
      EXPECT_OK(call.Wait());
      EXPECT_TRUE(call.HasItsAnswer());
    }
  }
}

}  // namespace
}  // namespace hachi::server
