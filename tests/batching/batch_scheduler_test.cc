#include "server/batching/batch_scheduler.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <deque>
#include <memory>
#include <thread>
#include <vector>

#include "tests/support/status_matchers.h"
#include "tests/support/test_scheduler.h"

namespace hachi::server {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr absl::Duration kMs = absl::Milliseconds(1);

const BatchingConfig kWithDelay = {
    .max_batch_rows = 4, .max_delay = absl::Milliseconds(10), .max_queue_rows = 8};

// Takes what must be there to take.
Batch TakeOne(TestScheduler& scheduler) {
  std::optional<Batch> batch = scheduler->TryTake();
  EXPECT_TRUE(batch.has_value());
  return batch.has_value() ? *std::move(batch) : Batch();
}

// Takes a batch and finishes it as if it had run for `run_time`, its requests answered.
void RunOne(TestScheduler& scheduler, absl::Duration run_time) {
  const Batch batch = TakeOne(scheduler);
  scheduler->Finish(batch, run_time);
  for (const auto& request : batch.requests) request->done(absl::OkStatus());
}

// The model's expected and fastest run are `run_time` from here on.
void Teach(TestScheduler& scheduler, const ServedModel& model, absl::Duration run_time) {
  scheduler->Push(Call(model, {.rows = model.handle->max_batch_rows()}).request());
  RunOne(scheduler, run_time);
}

std::string PushbackOf(const absl::Status& status) {
  const auto payload = status.GetPayload({kPushbackPayloadUrl.data(), kPushbackPayloadUrl.size()});
  return payload.has_value() ? std::string(*payload) : "none";
}

TEST(BatchSchedulerTest, RequestsOfAModelShareABatchInTheOrderTheyCame) {
  TestScheduler scheduler;
  const ServedModel model = scheduler.Serve();
  const Call a(model), b(model, {.rows = 2}), c(model);
  for (const Call* call : {&a, &b, &c}) scheduler->Push(call->request());
  const Batch batch = TakeOne(scheduler);
  EXPECT_EQ(batch.model, model.handle);
  EXPECT_THAT(batch.requests, ElementsAre(a.request(), b.request(), c.request()));
  EXPECT_EQ(batch.rows, 4);
  EXPECT_FALSE(scheduler->TryTake().has_value());
}

TEST(BatchSchedulerTest, ModelsNeverShareABatch) {
  TestScheduler scheduler;
  const ServedModel a = scheduler.Serve({.name = "a"}), b = scheduler.Serve({.name = "b"});
  scheduler->Push(Call(a).request());
  scheduler->Push(Call(b).request());
  const Batch first = TakeOne(scheduler), second = TakeOne(scheduler);
  EXPECT_EQ(first.requests.size(), 1u);
  EXPECT_EQ(second.requests.size(), 1u);
  EXPECT_NE(first.model, second.model);
}

// From here on, runs of the model take as long whatever their rows, and requests come `gap` apart: a batch is
// worth holding back for the next.
void TeachThatCompanyPays(TestScheduler& scheduler, const ServedModel& model, absl::Duration run_time,
                          absl::Duration gap) {
  Teach(scheduler, model, run_time);
  scheduler.clock().Advance(gap);
}

TEST(BatchSchedulerTest, WhatWaitsIsTakenAtOnce) {
  TestScheduler scheduler;
  const ServedModel model = scheduler.Serve({.batching = kWithDelay});
  scheduler->Push(Call(model).request());
  EXPECT_EQ(TakeOne(scheduler).rows, 1);
  EXPECT_EQ(model.handle->metrics().batches_total(BatchReason::kWorkerFree).Value(), 1);
}

TEST(BatchSchedulerTest, BatchIsHeldBackForCompanyThatPays) {
  TestScheduler scheduler;
  const ServedModel model = scheduler.Serve({.batching = kWithDelay});
  TeachThatCompanyPays(scheduler, model, 20 * kMs, 2 * kMs);
  const Call first(model), second(model);
  scheduler->Push(first.request());
  EXPECT_FALSE(scheduler->TryTake().has_value());
  scheduler.clock().Advance(2 * kMs);
  scheduler->Push(second.request());
  scheduler.clock().Advance(4 * kMs);  // nobody came for two gaps
  EXPECT_THAT(TakeOne(scheduler).requests, ElementsAre(first.request(), second.request()));
  EXPECT_EQ(model.handle->metrics().batches_total(BatchReason::kDelayOver).Value(), 1);
}

TEST(BatchSchedulerTest, FullBatchIsNotHeldBack) {
  TestScheduler scheduler;
  const ServedModel model = scheduler.Serve({.batching = kWithDelay});
  TeachThatCompanyPays(scheduler, model, 20 * kMs, 2 * kMs);
  scheduler->Push(Call(model, {.rows = 3}).request());
  EXPECT_FALSE(scheduler->TryTake().has_value());
  scheduler->Push(Call(model, {.rows = 2}).request());
  EXPECT_EQ(TakeOne(scheduler).rows, 3);
  EXPECT_EQ(model.handle->metrics().batches_total(BatchReason::kFull).Value(),
            2);  // and what it was taught by
}

TEST(BatchSchedulerTest, BatchClosesInTimeForItsNearestDeadline) {
  TestScheduler scheduler;
  const ServedModel model = scheduler.Serve({.batching = kWithDelay});
  TeachThatCompanyPays(scheduler, model, 20 * kMs, 2 * kMs);
  const Call call(model, {.deadline = scheduler.clock().Now() + 21 * kMs});
  scheduler->Push(call.request());
  EXPECT_FALSE(scheduler->TryTake().has_value());
  scheduler.clock().Advance(1 * kMs);
  EXPECT_THAT(TakeOne(scheduler).requests, ElementsAre(call.request()));
  EXPECT_EQ(model.handle->metrics().batches_total(BatchReason::kDeadlineNear).Value(), 1);
}

TEST(BatchSchedulerTest, WarmUpTellsWhatRunsTake) {
  TestScheduler scheduler;
  const ServedModel model = scheduler.Serve({.batching = kWithDelay});
  model.fake->set_run_times({{1, 20 * kMs}, {4, 20 * kMs}});
  scheduler->Push(Call(model).request());
  RunOne(scheduler, absl::ZeroDuration());
  scheduler.clock().Advance(2 * kMs);
  scheduler->Push(Call(model).request());
  EXPECT_FALSE(scheduler->TryTake().has_value());
}

TEST(BatchSchedulerTest, FreeWorkersShareWhatWaits) {
  TestScheduler scheduler({.inflight_bytes = 1000, .workers = 2});
  const ServedModel model = scheduler.Serve();
  model.fake->set_run_times({{1, 20 * kMs}, {4, 23 * kMs}});
  for (int i = 0; i < 4; ++i) scheduler->Push(Call(model).request());
  EXPECT_EQ(TakeOne(scheduler).rows, 2);
  EXPECT_EQ(TakeOne(scheduler).rows, 2);
}

TEST(BatchSchedulerTest, ModelWithoutAFreeInstanceSharesWithNobody) {
  TestScheduler scheduler({.inflight_bytes = 1000, .workers = 2});
  const ServedModel model = scheduler.Serve({.instances = 1});
  for (int i = 0; i < 4; ++i) scheduler->Push(Call(model).request());
  EXPECT_EQ(TakeOne(scheduler).rows, 4);
}

TEST(BatchSchedulerTest, ModelThatWaitedLongestGoesFirst) {
  TestScheduler scheduler;
  const ServedModel a = scheduler.Serve({.name = "a"}), b = scheduler.Serve({.name = "b"});
  scheduler->Push(Call(b).request());
  scheduler.clock().Advance(kMs);
  scheduler->Push(Call(a).request());
  scheduler.clock().Advance(kMs);
  EXPECT_EQ(TakeOne(scheduler).model->name(), "b");
  EXPECT_EQ(TakeOne(scheduler).model->name(), "a");
}

TEST(BatchSchedulerTest, WeightMultipliesAModelsWait) {
  TestScheduler scheduler;
  const ServedModel light = scheduler.Serve({.name = "light"});
  const ServedModel heavy =
      scheduler.Serve({.name = "heavy",
                       .batching = {.max_batch_rows = 4, .max_delay = {}, .max_queue_rows = 8, .weight = 3}});
  scheduler->Push(Call(light).request());
  scheduler.clock().Advance(kMs);
  scheduler->Push(Call(heavy).request());
  scheduler.clock().Advance(kMs);
  EXPECT_EQ(TakeOne(scheduler).model->name(), "heavy");
}

TEST(BatchSchedulerTest, BusyModelDoesNotStarveAnother) {
  TestScheduler scheduler;
  const ServedModel busy = scheduler.Serve({.name = "busy"}), other = scheduler.Serve({.name = "other"});
  scheduler->Push(Call(busy, {.rows = 4}).request());
  scheduler->Push(Call(busy, {.rows = 4}).request());
  scheduler.clock().Advance(kMs);
  scheduler->Push(Call(other).request());
  std::vector<std::string> order;
  for (int i = 0; i < 3; ++i) {
    scheduler.clock().Advance(kMs);
    const Batch batch = TakeOne(scheduler);
    order.push_back(batch.model->name());
    scheduler->Push(Call(busy, {.rows = 4}).request());
    scheduler->Finish(batch, kMs);
  }
  EXPECT_THAT(order, ElementsAre("busy", "other", "busy"));
}

TEST(BatchSchedulerTest, InstancesCapTheBatchesThatRunAtOnce) {
  TestScheduler scheduler;
  const ServedModel capped = scheduler.Serve({.name = "capped", .instances = 2});
  const ServedModel free = scheduler.Serve({.name = "free"});
  for (int i = 0; i < 2; ++i) scheduler->Push(Call(capped, {.rows = 4}).request());
  const Batch first = TakeOne(scheduler), second = TakeOne(scheduler);
  scheduler->Push(Call(capped, {.rows = 4}).request());
  scheduler->Push(Call(free).request());
  EXPECT_EQ(TakeOne(scheduler).model, free.handle);
  EXPECT_FALSE(scheduler->TryTake().has_value());
  scheduler->Finish(second, kMs);
  EXPECT_EQ(TakeOne(scheduler).model, capped.handle);
}

TEST(BatchSchedulerTest, NoRowsAndTooManyAreInvalidArguments) {
  TestScheduler scheduler;
  const ServedModel model = scheduler.Serve();
  const Call none(model, {.rows = 0}), many(model, {.rows = 5});
  scheduler->Push(none.request());
  scheduler->Push(many.request());
  EXPECT_THAT(none.Wait(),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("0 rows, expected 1 to 4")));
  EXPECT_THAT(many.Wait(),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("5 rows, expected 1 to 4")));
  EXPECT_EQ(model.refused_rows(Refusal::kTooLarge), 5);
  EXPECT_EQ(model.handle->statistics().Snapshot().fail.count, 2u);
  EXPECT_FALSE(scheduler->TryTake().has_value());
}

TEST(BatchSchedulerTest, ModelWithoutBatchTakesOneRowAtATime) {
  TestScheduler scheduler;
  const ServedModel model = scheduler.Serve();
  Signature signature = model.fake->signature();
  signature.batched = false;
  model.fake->set_signature(signature);
  const Call two(model, {.rows = 2});
  scheduler->Push(two.request());
  EXPECT_THAT(two.Wait(), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("2 rows, expected 1 to 1")));
  scheduler->Push(Call(model).request());
  scheduler->Push(Call(model).request());
  EXPECT_EQ(TakeOne(scheduler).rows, 1);
}

TEST(BatchSchedulerTest, FullQueueIsResourceExhaustedWithAPushback) {
  TestScheduler scheduler;
  const ServedModel model = scheduler.Serve();
  const Call first(model, {.rows = 4}), second(model, {.rows = 3}), third(model, {.rows = 2}), last(model);
  for (const Call* call : {&first, &second, &third, &last}) scheduler->Push(call->request());
  EXPECT_THAT(third.Wait(), StatusIs(absl::StatusCode::kResourceExhausted,
                                     HasSubstr("7 rows wait and 2 came, expected at most 8 to wait")));
  EXPECT_EQ(PushbackOf(third.Wait()), "100");  // nothing has run yet
  EXPECT_EQ(model.refused_rows(Refusal::kQueueFull), 2);
  EXPECT_EQ(model.handle->statistics().Snapshot().fail.count, 1u);
  EXPECT_EQ(first.ends() + second.ends() + last.ends(), 0);
}

TEST(BatchSchedulerTest, PushbackIsTheTimeTheQueueTakes) {
  TestScheduler scheduler;
  const ServedModel model = scheduler.Serve();
  Teach(scheduler, model, 7 * kMs);
  for (int i = 0; i < 2; ++i) scheduler->Push(Call(model, {.rows = 4}).request());
  const Call refused(model);
  scheduler->Push(refused.request());
  EXPECT_EQ(PushbackOf(refused.Wait()), "21");  // two batches wait, and its own
}

TEST(BatchSchedulerTest, ExpiredInAFullQueueMakeRoom) {
  TestScheduler scheduler;
  const ServedModel model = scheduler.Serve({.batching = kWithDelay, .instances = 1});
  scheduler->Push(Call(model, {.rows = 4}).request());
  const Batch running = TakeOne(scheduler);
  const Call expires(model, {.rows = 4, .deadline = scheduler.clock().Now() + kMs});
  const Call stays(model, {.rows = 4}), comes(model);
  scheduler->Push(expires.request());
  scheduler->Push(stays.request());
  scheduler.clock().Advance(kMs);
  scheduler->Push(comes.request());
  EXPECT_THAT(expires.Wait(), StatusIs(absl::StatusCode::kDeadlineExceeded));
  EXPECT_EQ(comes.ends(), 0);
  EXPECT_EQ(model.handle->metrics().queue_rows.Value(), 5);
}

TEST(BatchSchedulerTest, BytesInFlightAreBoundedUntilTheRequestIsGone) {
  TestScheduler scheduler({.inflight_bytes = 100});
  const ServedModel model = scheduler.Serve();
  Call first(model, {.bytes = 60});
  const Call second(model, {.bytes = 41}), third(model, {.bytes = 41});
  scheduler->Push(first.request());
  scheduler->Push(second.request());
  EXPECT_THAT(second.Wait(), StatusIs(absl::StatusCode::kResourceExhausted,
                                      HasSubstr("60 bytes are in flight and 41 came, expected at most 100")));
  EXPECT_EQ(PushbackOf(second.Wait()), "100");
  EXPECT_EQ(model.refused_rows(Refusal::kInflightBytes), 1);
  EXPECT_EQ(scheduler.metrics().server().inflight_bytes.Value(), 60);

  RunOne(scheduler, kMs);
  EXPECT_THAT(first.Wait(), IsOk());
  first.Release();
  EXPECT_EQ(scheduler.metrics().server().inflight_bytes.Value(), 0);
  scheduler->Push(third.request());
  EXPECT_EQ(third.ends(), 0);
}

TEST(BatchSchedulerTest, BytesReservedBeforeThePushAreHeldAndCountOnce) {
  TestScheduler scheduler({.inflight_bytes = 100});
  const ServedModel model = scheduler.Serve();
  Call first(model, {.bytes = 20}), second(model, {.bytes = 20});
  EXPECT_OK(scheduler->Reserve(*first.request(), 50));
  EXPECT_EQ(scheduler.metrics().server().inflight_bytes.Value(), 50);
  EXPECT_THAT(
      scheduler->Reserve(*second.request(), 51),
      StatusIs(absl::StatusCode::kResourceExhausted, HasSubstr("50 bytes are in flight and 51 came")));
  EXPECT_EQ(model.refused_rows(Refusal::kInflightBytes), 1);
  scheduler->Push(first.request());
  EXPECT_EQ(scheduler.metrics().server().inflight_bytes.Value(), 70);
  RunOne(scheduler, kMs);
  first.Release();
  EXPECT_EQ(scheduler.metrics().server().inflight_bytes.Value(), 0);
  // Nor are they lost when the request never comes.
  EXPECT_OK(scheduler->Reserve(*second.request(), 80));
  second.Release();
  EXPECT_EQ(scheduler.metrics().server().inflight_bytes.Value(), 0);
}

TEST(BatchSchedulerTest, DeadlineThatHasPassedIsNotQueued) {
  TestScheduler scheduler;
  const ServedModel model = scheduler.Serve();
  const Call call(model, {.rows = 2, .deadline = scheduler.clock().Now()});
  scheduler->Push(call.request());
  EXPECT_THAT(call.Wait(),
              StatusIs(absl::StatusCode::kDeadlineExceeded, HasSubstr("before the request ran")));
  EXPECT_EQ(model.refused_rows(Refusal::kDeadline), 2);
  EXPECT_FALSE(scheduler->TryTake().has_value());
}

TEST(BatchSchedulerTest, DeadlineNearerThanTheFastestRunIsHopeless) {
  TestScheduler scheduler;
  const ServedModel model = scheduler.Serve();
  Teach(scheduler, model, 9 * kMs);
  Teach(scheduler, model, 5 * kMs);
  Teach(scheduler, model, 7 * kMs);
  const Call hopeless(model, {.deadline = scheduler.clock().Now() + 5 * kMs - absl::Nanoseconds(1)});
  const Call just(model, {.deadline = scheduler.clock().Now() + 5 * kMs});
  scheduler->Push(hopeless.request());
  scheduler->Push(just.request());
  EXPECT_THAT(hopeless.Wait(), StatusIs(absl::StatusCode::kDeadlineExceeded,
                                        HasSubstr("expected at least 5ms, its fastest run")));
  EXPECT_EQ(model.refused_rows(Refusal::kDeadline), 1);
  EXPECT_THAT(TakeOne(scheduler).requests, ElementsAre(just.request()));
}

TEST(BatchSchedulerTest, RunThatDidNotHappenIsNoFastestRun) {
  TestScheduler scheduler;
  const ServedModel model = scheduler.Serve();
  Teach(scheduler, model, absl::ZeroDuration());
  const Call call(model, {.deadline = scheduler.clock().Now() + absl::Nanoseconds(1)});
  scheduler->Push(call.request());
  EXPECT_THAT(TakeOne(scheduler).requests, ElementsAre(call.request()));
}

TEST(BatchSchedulerTest, ExpiredInTheQueueIsNotTaken) {
  TestScheduler scheduler;
  const ServedModel model = scheduler.Serve({.instances = 1});
  scheduler->Push(Call(model).request());
  const Batch running = TakeOne(scheduler);
  const Call expires(model, {.deadline = scheduler.clock().Now() + kMs}), stays(model);
  scheduler->Push(expires.request());
  scheduler->Push(stays.request());
  scheduler.clock().Advance(kMs);
  scheduler->Finish(running, kMs);
  EXPECT_THAT(TakeOne(scheduler).requests, ElementsAre(stays.request()));
  EXPECT_THAT(expires.Wait(), StatusIs(absl::StatusCode::kDeadlineExceeded));
  EXPECT_EQ(model.refused_rows(Refusal::kDeadline), 1);
}

TEST(BatchSchedulerTest, CancelledInTheQueueEndsAtOnce) {
  TestScheduler scheduler;
  const ServedModel model = scheduler.Serve();
  const Call cancelled(model, {.rows = 2}), stays(model);
  scheduler->Push(cancelled.request());
  scheduler->Push(stays.request());
  scheduler->Cancel(cancelled.request());
  EXPECT_EQ(cancelled.ends(), 1);
  EXPECT_THAT(cancelled.Wait(), StatusIs(absl::StatusCode::kCancelled, HasSubstr("before the request ran")));
  EXPECT_EQ(model.refused_rows(Refusal::kCancelled), 2);
  EXPECT_EQ(model.handle->metrics().queue_rows.Value(), 1);
  EXPECT_THAT(TakeOne(scheduler).requests, ElementsAre(stays.request()));
}

TEST(BatchSchedulerTest, CancelAfterTheDeadlineIsDeadlineExceeded) {
  TestScheduler scheduler;
  const ServedModel model = scheduler.Serve();
  const Call call(model, {.deadline = scheduler.clock().Now() + kMs});
  scheduler->Push(call.request());
  scheduler.clock().Advance(kMs);
  scheduler->Cancel(call.request());
  EXPECT_THAT(call.Wait(), StatusIs(absl::StatusCode::kDeadlineExceeded));
  EXPECT_EQ(model.refused_rows(Refusal::kDeadline), 1);
  EXPECT_EQ(model.refused_rows(Refusal::kCancelled), 0);
}

TEST(BatchSchedulerTest, CancelledBeforeThePushIsNotQueued) {
  TestScheduler scheduler;
  const ServedModel model = scheduler.Serve();
  const Call call(model);
  scheduler->Cancel(call.request());
  EXPECT_EQ(call.ends(), 0);
  scheduler->Push(call.request());
  EXPECT_THAT(call.Wait(), StatusIs(absl::StatusCode::kCancelled));
}

TEST(BatchSchedulerTest, CancelAfterTheEndIsHarmless) {
  TestScheduler scheduler;
  const ServedModel model = scheduler.Serve();
  const Call call(model);
  scheduler->Push(call.request());
  RunOne(scheduler, kMs);
  scheduler->Cancel(call.request());
  EXPECT_EQ(call.ends(), 1);
  EXPECT_EQ(model.refused_rows(Refusal::kCancelled), 0);
}

TEST(BatchSchedulerTest, DropDeadLeavesTheLivingInOrder) {
  TestScheduler scheduler;
  const ServedModel model = scheduler.Serve();
  const Call first(model), expires(model, {.deadline = scheduler.clock().Now() + kMs}), cancelled(model),
      last(model);
  for (const Call* call : {&first, &expires, &cancelled, &last}) scheduler->Push(call->request());
  Batch batch = TakeOne(scheduler);
  scheduler->Cancel(cancelled.request());
  EXPECT_EQ(cancelled.ends(), 0);  // a worker has it
  scheduler.clock().Advance(kMs);
  EXPECT_EQ(scheduler->DropDead(batch), scheduler.clock().Now());
  EXPECT_THAT(batch.requests, ElementsAre(first.request(), last.request()));
  EXPECT_EQ(batch.rows, 2);
  EXPECT_THAT(expires.Wait(), StatusIs(absl::StatusCode::kDeadlineExceeded));
  EXPECT_THAT(cancelled.Wait(), StatusIs(absl::StatusCode::kCancelled));
}

TEST(BatchSchedulerTest, AfterStopPushIsUnavailable) {
  TestScheduler scheduler;
  const ServedModel model = scheduler.Serve();
  scheduler->Stop();
  const Call call(model, {.rows = 3});
  scheduler->Push(call.request());
  EXPECT_THAT(call.Wait(), StatusIs(absl::StatusCode::kUnavailable, HasSubstr("shutting down")));
  EXPECT_EQ(model.refused_rows(Refusal::kDraining), 3);
  EXPECT_EQ(model.handle->statistics().Snapshot().fail.count, 1u);
}

TEST(BatchSchedulerTest, AfterStopTakeDrainsWithoutWaitingForCompany) {
  TestScheduler scheduler;
  const ServedModel a = scheduler.Serve({.name = "a", .batching = kWithDelay});
  const ServedModel b = scheduler.Serve({.name = "b", .batching = kWithDelay});
  scheduler->Push(Call(a).request());
  scheduler->Push(Call(b, {.rows = 4}).request());
  scheduler->Push(Call(b, {.rows = 2}).request());
  scheduler->Stop();
  int64_t rows = 0;
  while (const std::optional<Batch> batch = scheduler->Take()) rows += batch->rows;
  EXPECT_EQ(rows, 7);
  EXPECT_FALSE(scheduler->Take().has_value());
}

TEST(BatchSchedulerTest, DestructionEndsWhatWaits) {
  TestScheduler scheduler;
  const ServedModel model = scheduler.Serve({.batching = kWithDelay});
  const Call call(model);
  {
    BatchScheduler short_lived({.metrics = &scheduler.metrics().server()});
    short_lived.Push(call.request());
  }
  EXPECT_THAT(call.Wait(), StatusIs(absl::StatusCode::kUnavailable));
  EXPECT_EQ(model.refused_rows(Refusal::kDraining), 1);
}

TEST(BatchSchedulerTest, QueueRowsFollowTheQueue) {
  TestScheduler scheduler;
  const ServedModel model = scheduler.Serve();
  const auto queued = [&] { return model.handle->metrics().queue_rows.Value(); };
  scheduler->Push(Call(model, {.rows = 3}).request());
  scheduler->Push(Call(model, {.rows = 2}).request());
  EXPECT_EQ(queued(), 5);
  RunOne(scheduler, kMs);
  EXPECT_EQ(queued(), 2);
  RunOne(scheduler, kMs);
  EXPECT_EQ(queued(), 0);
}

TEST(BatchSchedulerTest, KeepsNoVersionAfterItsRequestsHaveEnded) {
  TestScheduler scheduler;
  ServedModel model = scheduler.Serve();
  scheduler->Push(Call(model).request());
  RunOne(scheduler, kMs);
  const std::weak_ptr<ModelVersion> version = model.handle;
  model.handle = nullptr;
  EXPECT_TRUE(version.expired());
}

// A model whose input has a free length.
ServedModel ServeFree(TestScheduler& scheduler) { return scheduler.Serve({.free_length = true}); }

TEST(BatchSchedulerTest, RequestsOfDifferentShapesNeverShareABatch) {
  TestScheduler scheduler;
  const ServedModel model = ServeFree(scheduler);
  const Call a(model, {.length = 1}), b(model, {.length = 2}), c(model, {.length = 1});
  for (const Call* call : {&a, &b, &c}) {
    scheduler->Push(call->request());
    scheduler.clock().Advance(kMs);
  }
  EXPECT_THAT(TakeOne(scheduler).requests, ElementsAre(a.request(), c.request()));
  EXPECT_THAT(TakeOne(scheduler).requests, ElementsAre(b.request()));
}

TEST(BatchSchedulerTest, ShapesOfOneModelTakeTurnsByTheirOldestRequest) {
  TestScheduler scheduler;
  const ServedModel model = ServeFree(scheduler);
  const Call a(model, {.length = 3}), b(model, {.length = 2}), c(model, {.length = 1});
  for (const Call* call : {&a, &b, &c}) {
    scheduler->Push(call->request());
    scheduler.clock().Advance(kMs);
  }
  for (const Call* call : {&a, &b, &c}) {
    const Batch batch = TakeOne(scheduler);
    EXPECT_THAT(batch.requests, ElementsAre(call->request()));
    scheduler->Finish(batch, kMs);
    scheduler.clock().Advance(kMs);
  }
}

TEST(BatchSchedulerTest, ShapesWithoutAPlanWaitForOneWhileOthersRun) {
  std::vector<int64_t> orders;
  TestScheduler scheduler(
      {.make_plans = [&](const auto&, const auto&, int64_t rows) { orders.push_back(rows); }});
  const ServedModel model = ServeFree(scheduler), other = scheduler.Serve({.name = "other"});
  const Call call(model), beside(other);
  scheduler->Push(call.request());
  scheduler->Push(Call(model).request());
  scheduler->Push(beside.request());
  EXPECT_THAT(orders, ElementsAre(1));  // once, though two ask
  EXPECT_THAT(TakeOne(scheduler).requests, ElementsAre(beside.request()));
  EXPECT_FALSE(scheduler->TryTake().has_value());
  const auto plans = call.request()->plans;
  ASSERT_OK(model.fake->MakePlans(*plans, 1, Team::kWorker));
  scheduler->PlansMade(plans, absl::OkStatus());
  EXPECT_EQ(TakeOne(scheduler).requests.front(), call.request());
}

TEST(BatchSchedulerTest, LargerBatchThanItsPlansAsksForALargerPlan) {
  std::vector<int64_t> orders;
  TestScheduler scheduler(
      {.make_plans = [&](const auto&, const auto&, int64_t rows) { orders.push_back(rows); }});
  const ServedModel model = ServeFree(scheduler);
  const Call call(model, {.rows = 3});
  scheduler->Push(call.request());
  const auto plans = call.request()->plans;
  ASSERT_OK(model.fake->MakePlans(*plans, 1, Team::kWorker));
  scheduler->PlansMade(plans, absl::OkStatus());
  EXPECT_EQ(TakeOne(scheduler).rows, 3);
  EXPECT_THAT(orders, ElementsAre(1, 3));
}

TEST(BatchSchedulerTest, RequestsWhosePlanCannotBeMadeEndWithTheReason) {
  TestScheduler scheduler;
  const ServedModel model = ServeFree(scheduler);
  model.fake->FailPlansWith(absl::ResourceExhaustedError("9 bytes, expected at most 8"));
  const Call call(model, {.rows = 2});
  scheduler->Push(call.request());
  EXPECT_THAT(call.Wait(), StatusIs(absl::StatusCode::kResourceExhausted, HasSubstr("model 'm': 9 bytes")));
  EXPECT_EQ(model.refused_rows(Refusal::kNoPlan), 2);
  EXPECT_EQ(model.handle->metrics().queue_rows.Value(), 0);
}

TEST(BatchSchedulerTest, PlanCacheHitsAndMissesAreCounted) {
  TestScheduler scheduler;
  const ServedModel model = ServeFree(scheduler);
  for (const int64_t length : {1, 2, 1}) scheduler->Push(Call(model, {.length = length}).request());
  EXPECT_EQ(model.handle->metrics().plan_cache_misses_total.Value(), 2);
  EXPECT_EQ(model.handle->metrics().plan_cache_hits_total.Value(), 1);
}

// What follows runs threads: on the real clock where one has to wake by itself.

TEST(BatchSchedulerThreadsTest, WaitingTakeGetsWhatComes) {
  TestScheduler scheduler;
  const ServedModel model = scheduler.Serve({.batching = kWithDelay});
  int64_t rows = 0;
  std::thread worker([&] { rows = scheduler->Take()->rows; });
  scheduler->Push(Call(model, {.rows = 2}).request());
  worker.join();
  EXPECT_EQ(rows, 2);
}

TEST(BatchSchedulerThreadsTest, WaitingTakeWakesByItselfWhenTheHoldingIsOver) {
  TestScheduler scheduler({.inflight_bytes = 0, .clock = &Clock::Real()});
  const ServedModel model = scheduler.Serve({.batching = kWithDelay});
  Teach(scheduler, model, absl::Hours(1));
  scheduler->Push(Call(model).request());
  EXPECT_EQ(scheduler->Take()->rows, 1);
  EXPECT_EQ(model.handle->metrics().batches_total(BatchReason::kDelayOver).Value(), 1);
}

TEST(BatchSchedulerThreadsTest, CoresThatIdleWhileRowsWaitAreCounted) {
  TestScheduler scheduler;
  const ServedModel model = scheduler.Serve({.instances = 1});
  const prometheus::Counter& idle_seconds = scheduler.metrics().server().idle_core_seconds_total;
  scheduler->Push(Call(model).request());
  const Batch running = TakeOne(scheduler);
  std::thread worker([&] { EXPECT_TRUE(scheduler->Take().has_value()); });
  scheduler->Push(Call(model).request());  // the worker may not take it: one instance runs
  for (int i = 0; i < 1'000'000 && idle_seconds.Value() == 0; ++i) {
    EXPECT_FALSE(scheduler->TryTake().has_value());
    scheduler.clock().Advance(kMs);
    std::this_thread::yield();
  }
  EXPECT_GT(idle_seconds.Value(), 0);
  scheduler->Finish(running, kMs);
  worker.join();
  const double counted = idle_seconds.Value();
  scheduler.clock().Advance(absl::Seconds(1));
  EXPECT_FALSE(scheduler->TryTake().has_value());
  EXPECT_EQ(idle_seconds.Value(), counted);  // nothing waits
}

TEST(BatchSchedulerThreadsTest, WaitingTakeEndsRequestsAsTheirDeadlinesPass) {
  TestScheduler scheduler({.inflight_bytes = 0, .clock = &Clock::Real()});
  const ServedModel model = scheduler.Serve({.instances = 1});
  scheduler->Push(Call(model).request());
  const Batch running = TakeOne(scheduler);
  const Call call(model, {.deadline = Clock::Real().Now() + kMs});
  scheduler->Push(call.request());
  std::thread worker([&] { EXPECT_FALSE(scheduler->Take().has_value()); });
  EXPECT_THAT(call.Wait(), StatusIs(absl::StatusCode::kDeadlineExceeded));
  scheduler->Stop();
  worker.join();
}

TEST(BatchSchedulerThreadsTest, StopWakesEveryWaitingTake) {
  TestScheduler scheduler;
  std::vector<std::thread> workers;
  for (int i = 0; i < 3; ++i) workers.emplace_back([&] { EXPECT_FALSE(scheduler->Take().has_value()); });
  scheduler->Stop();
  for (std::thread& worker : workers) worker.join();
}

// Lets threads that are about to wait get there; only a test that should fail depends on it.
void Yield() {
  for (int i = 0; i < 100; ++i) std::this_thread::yield();
}

TEST(BatchSchedulerThreadsTest, DrainEndsEveryWorkerThoughInstancesHeldThemUp) {
  for (int round = 0; round < 20; ++round) {
    TestScheduler scheduler;
    const ServedModel model = scheduler.Serve({.instances = 1});
    scheduler->Push(Call(model).request());
    const Batch running = TakeOne(scheduler);
    const Call last(model);
    scheduler->Push(last.request());
    scheduler->Stop();
    std::vector<std::thread> workers;
    for (int i = 0; i < 3; ++i) {
      workers.emplace_back([&] {
        while (const std::optional<Batch> batch = scheduler->Take()) {
          scheduler->Finish(*batch, kMs);
          for (const auto& request : batch->requests) request->done(absl::OkStatus());
        }
      });
    }
    Yield();
    scheduler->Finish(running, kMs);
    for (std::thread& worker : workers) worker.join();
    EXPECT_THAT(last.Wait(), IsOk());
  }
}

TEST(BatchSchedulerThreadsTest, DrainEndsWhenTheLastRequestIsCancelled) {
  for (int round = 0; round < 20; ++round) {
    TestScheduler scheduler;
    const ServedModel model = scheduler.Serve({.instances = 1});
    scheduler->Push(Call(model).request());
    const Batch running = TakeOne(scheduler);
    const Call last(model);
    scheduler->Push(last.request());
    scheduler->Stop();
    std::thread worker([&] { EXPECT_FALSE(scheduler->Take().has_value()); });
    Yield();
    scheduler->Cancel(last.request());
    worker.join();
    EXPECT_THAT(last.Wait(), StatusIs(absl::StatusCode::kCancelled));
  }
}

TEST(BatchSchedulerThreadsTest, EveryRequestEndsOnceWhateverRunsBesideIt) {
  constexpr int kRequests = 200, kPushers = 3, kWorkers = 3;
  TestScheduler scheduler({.inflight_bytes = 20, .clock = &Clock::Real()});
  const std::vector<ServedModel> models = {scheduler.Serve({.name = "a", .instances = 1}),
                                           scheduler.Serve({.name = "b", .batching = kWithDelay}),
                                           scheduler.Serve({.name = "c"})};
  std::atomic<int64_t> rows_run = 0;
  std::vector<std::thread> workers;
  for (int i = 0; i < kWorkers; ++i) {
    workers.emplace_back([&] {
      while (std::optional<Batch> batch = scheduler->Take()) {
        scheduler->DropDead(*batch);
        rows_run += batch->rows;
        scheduler->Finish(*batch, absl::Microseconds(batch->rows));
        for (const auto& request : batch->requests) request->done(absl::OkStatus());
      }
    });
  }
  std::vector<std::deque<Call>> calls(kPushers);
  std::vector<std::thread> pushers;
  for (int i = 0; i < kPushers; ++i) {
    pushers.emplace_back([&, i] {
      for (int j = 0; j < kRequests; ++j) {
        const absl::Time deadline =
            j % 5 == 0 ? Clock::Real().Now() + absl::Microseconds(100 * j) : absl::InfiniteFuture();
        const Call& call = calls[i].emplace_back(
            models[j % models.size()], CallOptions{.rows = 1 + j % 3, .deadline = deadline, .bytes = 1});
        scheduler->Push(call.request());
        if (j % 7 == 0) scheduler->Cancel(call.request());
        if (j >= 10) calls[i][j - 10].Release();
      }
    });
  }
  for (std::thread& pusher : pushers) pusher.join();
  scheduler->Stop();
  for (std::thread& worker : workers) worker.join();

  int64_t rows_ok = 0, rows_pushed = 0;
  double rows_refused = 0;
  for (const std::deque<Call>& of_pusher : calls) {
    for (int j = 0; j < kRequests; ++j) {
      EXPECT_EQ(of_pusher[j].ends(), 1);
      rows_pushed += 1 + j % 3;
      if (of_pusher[j].Wait().ok()) rows_ok += 1 + j % 3;
    }
  }
  for (const ServedModel& model : models) {
    for (size_t why = 0; why < kRefusals; ++why)
      rows_refused += model.refused_rows(static_cast<Refusal>(why));
    EXPECT_EQ(model.handle->metrics().queue_rows.Value(), 0);
  }
  EXPECT_EQ(rows_ok, rows_run);
  EXPECT_EQ(static_cast<double>(rows_ok) + rows_refused, static_cast<double>(rows_pushed));
}

// Two workers, and a wide team in whose runs a row takes a third of the time.
class WideTeamTest : public testing::Test {
 protected:
  WideTeamTest() {
    model_.fake->set_run_times({{1, 9 * kMs}, {4, 36 * kMs}});
    model_.fake->set_wide_run_times({{1, 3 * kMs}, {4, 12 * kMs}});
  }

  Batch TakeWide() {
    std::optional<Batch> batch = scheduler_->TryTake(Team::kWide);
    EXPECT_TRUE(batch.has_value());
    return batch.has_value() ? *std::move(batch) : Batch();
  }

  // Runs of lone requests on workers before one on the wide team, which takes so long.
  int RunsUntilWide(absl::Duration run_time) {
    for (int runs = 0;; ++runs) {
      scheduler_.clock().Advance(kMs);
      const Call call(model_);
      scheduler_->Push(call.request());
      const std::optional<Batch> wide = scheduler_->TryTake(Team::kWide);
      scheduler_->Finish(wide ? *wide : TakeOne(scheduler_), wide ? run_time : 9 * kMs);
      if (wide) return runs;
    }
  }

  TestScheduler scheduler_{{.workers = 2, .has_wide_team = true}};
  ServedModel model_ = scheduler_.Serve();
  const Call first_{model_}, second_{model_};
};

TEST_F(WideTeamTest, TakesTheLoneRequestAndNoWorkerDoes) {
  scheduler_->Push(first_.request());
  EXPECT_FALSE(scheduler_->TryTake().has_value());
  EXPECT_THAT(TakeWide().requests, ElementsAre(first_.request()));
  EXPECT_EQ(model_.handle->metrics().wide_batches_total.Value(), 1);
}

TEST_F(WideTeamTest, WorkersWaitUntilItsRunEnds) {
  scheduler_->Push(first_.request());
  const Batch wide = TakeWide();
  scheduler_->Push(second_.request());
  EXPECT_FALSE(scheduler_->TryTake().has_value());
  scheduler_.clock().Advance(7 * kMs);
  scheduler_->Finish(wide, 7 * kMs);
  EXPECT_THAT(TakeOne(scheduler_).requests, ElementsAre(second_.request()));  // it gained too little
}

TEST_F(WideTeamTest, WaitsForWorkersThatRun) {
  scheduler_->Push(first_.request());
  scheduler_->Push(second_.request());
  const Batch running = TakeOne(scheduler_);  // one for each worker
  TakeOne(scheduler_);
  const Call third(model_);
  scheduler_->Push(third.request());
  EXPECT_FALSE(scheduler_->TryTake(Team::kWide).has_value());
}

TEST_F(WideTeamTest, DoesNotRunModelsWithInstances) {
  const ServedModel capped = scheduler_.Serve({.name = "capped", .instances = 1});
  capped.fake->set_run_times({{1, 9 * kMs}});
  capped.fake->set_wide_run_times({{1, 3 * kMs}});
  const Call call(capped);
  scheduler_->Push(call.request());
  EXPECT_FALSE(scheduler_->TryTake(Team::kWide).has_value());
  EXPECT_THAT(TakeOne(scheduler_).requests, ElementsAre(call.request()));
}

TEST_F(WideTeamTest, RunThatIsOverdueIsNotWaitedForForever) {
  scheduler_->Push(first_.request());
  scheduler_->Push(second_.request());
  TakeOne(scheduler_);  // is to end in 9 ms, and does not
  scheduler_->Finish(TakeOne(scheduler_), 9 * kMs);
  scheduler_.clock().Advance(absl::Seconds(1));
  const Call third(model_);
  scheduler_->Push(third.request());
  EXPECT_THAT(TakeOne(scheduler_).requests, ElementsAre(third.request()));
}

TEST_F(WideTeamTest, IsTriedAgainLessOftenTheLongerItIsNotWorthIt) {
  EXPECT_EQ(RunsUntilWide(90 * kMs), 0);
  EXPECT_EQ(RunsUntilWide(90 * kMs), 200);
  EXPECT_EQ(RunsUntilWide(90 * kMs), 400);
}

TEST_F(WideTeamTest, IsTriedAsOftenAsEverOnceItWasWorthIt) {
  RunsUntilWide(90 * kMs);
  EXPECT_EQ(RunsUntilWide(3 * kMs), 200);
  EXPECT_EQ(RunsUntilWide(3 * kMs), 0);
  int runs = 0;
  while (runs == 0) runs = RunsUntilWide(90 * kMs);
  EXPECT_EQ(runs, 100);
}

TEST_F(WideTeamTest, RunsErrandsWhileNothingWaitsForItAndWorkersTakeRequests) {
  scheduler_->RunOnWideTeam([&] {
    scheduler_.clock().Advance(kMs);
    scheduler_->Push(second_.request());
    EXPECT_THAT(TakeOne(scheduler_).requests, ElementsAre(second_.request()));
    scheduler_->Stop();
  });
  scheduler_->Push(first_.request());
  const Batch wide = *scheduler_->Take(Team::kWide);
  EXPECT_THAT(wide.requests, ElementsAre(first_.request()));
  scheduler_->Finish(wide, 3 * kMs);
  EXPECT_FALSE(scheduler_->Take(Team::kWide).has_value());
}

}  // namespace
}  // namespace hachi::server
