// Calls that come, run, are cancelled and expire in any order: two bytes an operation.
#include <algorithm>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "tests/fuzz/fuzz.h"
#include "tests/support/test_scheduler.h"

namespace {

using namespace hachi::server;
using hachi::Require;

constexpr absl::Duration kMs = absl::Milliseconds(1);

// A call and what the test knows of it.
struct KnownCall {
  KnownCall(const ServedModel& model, const CallOptions& options) : call(model, options) {}

  const Call call;
  bool was_pushed = false;
  bool was_computed = false;
};

// A scheduler with three models and the batches that its workers have taken.
class World {
 public:
  World() : scheduler_({.inflight_bytes = 1000, .workers = 3, .has_wide_team = true}) {
    models_.push_back(scheduler_.Serve({.name = "a"}));
    models_.back().fake->set_wide_run_times({{1, kMs / 2}});
    models_.push_back(
        scheduler_.Serve({.name = "b",
                          .batching = {.max_batch_rows = 8, .max_delay = 2 * kMs, .max_queue_rows = 16},
                          .instances = 1}));
    models_.push_back(scheduler_.Serve({.name = "free", .free_length = true}));
  }

  void Do(uint8_t operation, uint8_t operand) {
    switch (operation % 8) {
      case 0:
      case 1:
      case 2:
        return Push(operation, operand);
      case 3:
        return scheduler_.clock().Advance(operand * kMs / 16);
      case 4:
        return Take();
      case 5:
        if (!running_.empty()) RunOne(operand % running_.size());
        return;
      case 6:
        if (!calls_.empty()) scheduler_->Cancel(calls_[operand % calls_.size()]->call.request());
        return;
      case 7:
        for (const ServedModel& model : models_)
          model.fake->FailPlansWith(operand % 2 == 0 ? absl::OkStatus()
                                                     : absl::ResourceExhaustedError("full"));
        return;
    }
  }

  // All that was pushed has ended, once, and as it should.
  void End() {
    scheduler_->Stop();
    do {
      while (!running_.empty()) RunOne(0);
      Take();
    } while (!running_.empty());
    for (const auto& call : calls_) {
      Require(call->call.ends() == (call->was_pushed ? 1 : 0), "every call ends once");
      Require(!call->was_pushed || call->call.Wait().ok() == call->was_computed,
              "who is answered was computed, and the other way round");
    }
    calls_.clear();
    Require(scheduler_.metrics().server().inflight_bytes.Value() == 0, "all bytes are given back");
    for (const ServedModel& model : models_)
      Require(model.handle->metrics().queue_rows.Value() == 0, "nothing waits");
  }

 private:
  void Push(uint8_t operation, uint8_t operand) {
    const absl::Time now = scheduler_.clock().Now();
    const absl::Time deadline =
        operand % 4 == 0 ? absl::InfiniteFuture() : now + (operand / 4 % 16 - 1) * kMs;
    const CallOptions options = {.rows = operand / 16 % 10,
                                 .deadline = deadline,
                                 .bytes = operand * 2,
                                 .length = 1 + operation / 8 % 3};
    calls_.push_back(std::make_unique<KnownCall>(models_[operation / 64 % models_.size()], options));
    Request& request = *calls_.back()->call.request();
    // Some need memory before they can be pushed, and may not get it.
    if (operation / 24 % 2 == 1 && !scheduler_->Reserve(request, operand).ok()) return;
    calls_.back()->was_pushed = true;
    scheduler_->Push(calls_.back()->call.request());
  }

  void Take() {
    std::optional<Batch> batch = scheduler_->TryTake();
    if (!batch) batch = scheduler_->TryTake(hachi::Team::kWide);
    if (!batch) return;
    const auto is_wide = [](const Batch& each) { return each.team == hachi::Team::kWide; };
    Require(running_.empty() || !(is_wide(*batch) || is_wide(running_.front())), "the wide team runs alone");
    Require(batch->rows <= batch->model->max_batch_rows(), "a batch is within its model's limit");
    Require(batch->plans->largest_rows() > 0, "a batch has plans");
    for (const auto& request : batch->requests)
      Require(request->model == batch->model && request->plans == batch->plans, "a batch is of one kind");
    running_.push_back(*std::move(batch));
  }

  void RunOne(size_t index) {
    Batch batch = std::move(running_[index]);
    running_.erase(running_.begin() + static_cast<ptrdiff_t>(index));
    const absl::Time start = scheduler_->DropDead(batch);
    for (const auto& request : batch.requests)
      Require(request->deadline > start && !request->cancelled, "the dead are never computed");
    scheduler_->Finish(batch, batch.requests.empty() ? absl::ZeroDuration() : kMs);
    for (const auto& known : calls_)
      for (const auto& request : batch.requests)
        if (known->call.request() == request) known->was_computed = true;
    for (const auto& request : batch.requests) {
      const auto done = std::move(request->done);
      done(absl::OkStatus());
    }
  }

  TestScheduler scheduler_;
  std::vector<ServedModel> models_;
  std::vector<std::unique_ptr<KnownCall>> calls_;
  std::vector<Batch> running_;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  constexpr size_t kMostBytes = 2048;  // longer ones find nothing more, and take quadratic time here
  World world;
  for (size_t i = 0; i + 1 < std::min(size, kMostBytes); i += 2) world.Do(data[i], data[i + 1]);
  world.End();
  return 0;
}
