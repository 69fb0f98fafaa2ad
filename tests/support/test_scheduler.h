#pragma once

#include <gtest/gtest.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/cord.h"
#include "absl/time/time.h"
#include "engine/base/mutex.h"
#include "server/batching/batch_scheduler.h"
#include "server/metrics/metrics.h"
#include "server/models/model_version.h"
#include "tests/support/fake_clock.h"
#include "tests/support/fake_model.h"

namespace hachi::server {

// A READY version of a model around a FakeModel.
struct ServedModel {
  std::shared_ptr<ModelVersion> handle;
  FakeModel* fake;  // owned by the handle

  double refused_rows(Refusal why) const { return handle->metrics().rows_refused_total(why).Value(); }
};

struct ServedModelOptions {
  std::string name = "m";
  BatchingConfig batching = {.max_batch_rows = 4, .max_delay = absl::ZeroDuration(), .max_queue_rows = 8};
  std::optional<int> instances = {};
  bool free_length = false;  // of its input, which is fixed at 4 elements otherwise
};

// A scheduler on a clock that stands still, with metrics and models of its own.
class TestScheduler {
 public:
  struct Options {
    int64_t inflight_bytes = 1'000'000;
    int workers = 1;
    bool has_wide_team = false;
    std::function<void(ModelHandle, std::shared_ptr<const PlanSet>, int64_t)> make_plans = {};
    const Clock* clock = nullptr;  // null: its own, which stands still
  };

  TestScheduler() : TestScheduler(Options{}) {}
  explicit TestScheduler(const Options& options)
      : scheduler_({.inflight_bytes = options.inflight_bytes,
                    .workers = options.workers,
                    .has_wide_team = options.has_wide_team,
                    .make_plans = options.make_plans,
                    .metrics = &metrics_.server(),
                    .clock = options.clock != nullptr ? options.clock : &clock_}) {}

  ServedModel Serve(const ServedModelOptions& options = {}) {
    ModelConfig config;
    config.name = options.name;
    config.batching = options.batching;
    config.instances = options.instances;
    auto fake = std::make_unique<FakeModel>();
    if (options.free_length) {
      Signature signature = fake->signature();
      signature.inputs[0].dims = {-1};
      signature.inputs[0].symbols = {"length"};
      fake->set_signature(signature);
    }
    ServedModel served = {
        .handle = std::make_shared<ModelVersion>(std::make_shared<const ModelConfig>(std::move(config)),
                                                 VersionFiles{}, metrics_.ForModel(options.name, 1)),
        .fake = fake.get()};
    served.handle->StartLoading();
    served.handle->FinishLoading(std::move(fake), absl::ZeroDuration());
    return served;
  }

  BatchScheduler* operator->() { return &scheduler_; }
  BatchScheduler* get() { return &scheduler_; }
  FakeClock& clock() { return clock_; }
  Metrics& metrics() { return metrics_; }

 private:
  FakeClock clock_;
  Metrics metrics_;
  BatchScheduler scheduler_;
};

struct CallOptions {
  int64_t rows = 1;
  absl::Time deadline = absl::InfiniteFuture();
  int64_t bytes = 0;
  uint8_t fill = 1;    // every byte of the input
  int64_t length = 1;  // of its first dimension, where that is free
};

// A request for a FakeModel and what becomes of it.
//
// Thread-safe, except Release.
class Call {
 public:
  explicit Call(const ServedModel& model, const CallOptions& options = {})
      : fill_(options.fill), request_(std::make_shared<Request>()), end_(std::make_shared<End>()) {
    const TensorSignature& signature = model.fake->signature().inputs[0];
    std::vector<int64_t> shape = signature.dims;
    if (signature.is_free()) shape[0] = options.length;
    const std::shared_ptr<const RowShapes> shapes = *model.fake->ShapesOf({&shape, 1}, {});
    const size_t bytes = shapes->input_bytes[0] * static_cast<size_t>(options.rows);
    const auto input = std::make_shared<std::vector<std::byte>>(bytes, std::byte{fill_});
    request_->model = model.handle;
    request_->rows.count = options.rows;
    request_->rows.shapes = shapes;
    request_->plans = shapes->plans;
    request_->rows.inputs = {{*input}};
    request_->keep_alive = input;
    request_->AllocateOutputs({true});
    request_->bytes = options.bytes;
    request_->deadline = options.deadline;
    request_->done = [end = end_](const absl::Status& status) { end->Set(status); };
  }

  const std::shared_ptr<Request>& request() const { return request_; }

  // How often `done` was called.
  int ends() const {
    MutexLock lock(end_->mutex);
    return end_->count;
  }

  // Waits for the end and returns its status.
  absl::Status Wait() const {
    MutexLock lock(end_->mutex);
    while (end_->count == 0) end_->changed.Wait(end_->mutex);
    return end_->status;
  }

  // All outputs are those of this request's inputs. REQUIRES: it ended OK.
  bool HasItsAnswer() const {
    const size_t row_bytes = request_->rows.shapes->input_bytes[0];
    const auto expected = static_cast<std::byte>(fill_ * row_bytes);
    for (const std::byte byte : request_->rows.outputs[0]) {
      if (byte != expected) return false;
    }
    return true;
  }

  // Lets go of the request, as the server does once it has answered.
  void Release() { request_ = nullptr; }

 private:
  struct End {
    void Set(const absl::Status& ended_with) {
      MutexLock lock(mutex);
      // A copy of its own: the count of a shared status' holders is in the distribution's Abseil, where the
      // thread sanitizer does not see it.
      status = absl::Status(ended_with.code(), ended_with.message());
      ended_with.ForEachPayload(
          [&](absl::string_view url, const absl::Cord& payload) { status.SetPayload(url, payload); });
      ++count;
      changed.NotifyAll();
    }

    Mutex mutex;
    CondVar changed;
    int count ABSL_GUARDED_BY(mutex) = 0;
    absl::Status status ABSL_GUARDED_BY(mutex);
  };

  const uint8_t fill_;
  std::shared_ptr<Request> request_;
  const std::shared_ptr<End> end_;
};

}  // namespace hachi::server
