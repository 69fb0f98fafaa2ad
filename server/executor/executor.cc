#include "server/executor/executor.h"

#include <utility>

#include "absl/strings/str_format.h"
#include "engine/base/log.h"
#include "engine/base/mutex.h"
#include "engine/cpu/team.h"

namespace hachi::server {
namespace {

// What runs one batch at a time: a context, and memory that is kept from batch to batch.
//
// Confined to the worker's thread.
class Worker {
 public:
  Worker(const Executor::Options& options, Team team)
      : scheduler_(*options.scheduler), clock_(*options.clock), context_(options.new_context(team)) {}

  void Run(Batch batch) {
    const absl::Time start = scheduler_.DropDead(batch);
    if (batch.requests.empty()) return scheduler_.Finish(batch, absl::ZeroDuration());

    rows_.clear();
    for (const auto& request : batch.requests) {
      if (request->deadline <= start) {
        batch.model->metrics().expired_rows_computed_total.Increment(
            static_cast<double>(request->rows.count));
      }
      rows_.push_back(std::move(request->rows));
    }
    if (batch.plans->largest_rows() == 0) batch.model->metrics().batches_without_plan_total.Increment();
    const absl::StatusOr<RunTimes> times = batch.model->model().Run(*context_, rows_);
    const absl::Time end = clock_.Now();
    scheduler_.Finish(batch, end - start);
    absl::Status status;
    if (times.ok()) {
      RecordSuccess(batch, *times, start, end);
      for (const auto& observer : batch.model->observers()) observer->Observe(rows_);
    } else {
      status = absl::InternalError(
          absl::StrFormat("model '%s': the run failed: %s", batch.model->name(), times.status().message()));
      LogError(std::string(status.message()));
      for (const auto& request : batch.requests) {
        batch.model->statistics().RecordFailure(end - request->enqueued);
      }
    }
    for (size_t i = 0; i < rows_.size(); ++i) batch.requests[i]->rows = std::move(rows_[i]);
    for (const auto& request : batch.requests) {
      const std::function<void(absl::Status)> done = std::move(request->done);
      done(status);
    }
  }

 private:
  void RecordSuccess(const Batch& batch, const RunTimes& times, absl::Time start, absl::Time end) {
    ModelMetrics& metrics = batch.model->metrics();
    metrics.batch_rows.Observe(static_cast<double>(batch.rows));
    Observe(metrics.gather_duration_seconds, times.gather);
    Observe(metrics.compute_duration_seconds, times.compute);
    Observe(metrics.scatter_duration_seconds, times.scatter);
    computed_.clear();
    for (const auto& request : batch.requests) {
      Observe(metrics.queue_duration_seconds, start - request->enqueued);
      computed_.push_back({.queue = start - request->enqueued, .total = end - request->enqueued});
    }
    batch.model->statistics().RecordBatch(batch.rows, computed_, times, end);
  }

  BatchScheduler& scheduler_;
  const Clock& clock_;
  const std::unique_ptr<RunContext> context_;
  std::vector<Rows> rows_;
  std::vector<ModelStatistics::Computed> computed_;
};

// One worker for all callers, one after the other.
class InlineWorker {
 public:
  explicit InlineWorker(const Executor::Options& options) : worker_(options, Team::kWorker) {}

  void Run(Batch batch) {
    MutexLock lock(mutex_);
    worker_.Run(std::move(batch));
  }

 private:
  Mutex mutex_;
  Worker worker_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace

Executor::Executor(const Options& options) {
  if (options.workers == 0) {
    options.scheduler->SetInlineRunner(
        [worker = std::make_shared<InlineWorker>(options)](Batch batch) { worker->Run(std::move(batch)); });
  }
  const auto start = [&](int number, int threads, Team team) {
    threads_.emplace_back([options, number, threads, team] {
      SetTeam(threads);
      if (options.on_start) options.on_start(number);
      Worker worker(options, team);
      while (std::optional<Batch> batch = options.scheduler->Take(team)) worker.Run(*std::move(batch));
    });
  };
  for (int i = 0; i < options.workers; ++i) start(i, options.threads_per_worker, Team::kWorker);
  if (options.wide_threads > 0) start(options.workers, options.wide_threads, Team::kWide);
}

Executor::~Executor() {
  for (std::thread& thread : threads_) thread.join();
}

}  // namespace hachi::server
