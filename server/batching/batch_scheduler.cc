#include "server/batching/batch_scheduler.h"

#include <algorithm>
#include <limits>
#include <string>
#include <utility>

#include "absl/strings/cord.h"
#include "absl/strings/str_format.h"

namespace hachi::server {
namespace {

// Weight of the newest run in the moving average: about the last ten runs count. Guessed.
constexpr double kNewestRunWeight = 0.2;

// What a client is told to wait before the model's first run has shown how long one takes. Guessed.
constexpr absl::Duration kFirstPushback = absl::Milliseconds(100);

absl::Status WithPushback(std::string message, absl::Duration pushback) {
  const int64_t ms = absl::ToInt64Milliseconds(std::clamp(pushback, absl::Milliseconds(1), absl::Seconds(1)));
  absl::Status status = absl::ResourceExhaustedError(absl::StrFormat("%s: retry in %d ms", message, ms));
  status.SetPayload({kPushbackPayloadUrl.data(), kPushbackPayloadUrl.size()}, absl::Cord(std::to_string(ms)));
  return status;
}

std::optional<Refusal> CauseOfDeath(const Request& request, absl::Time now) {
  if (request.deadline <= now) return Refusal::kDeadline;
  if (request.cancelled.load(std::memory_order_relaxed)) return Refusal::kCancelled;
  return std::nullopt;
}

absl::Status StatusOfDeath(const Request& request, Refusal why) {
  const std::string& model = request.model->name();
  switch (why) {
    case Refusal::kDeadline:
      return absl::DeadlineExceededError(
          absl::StrFormat("model '%s': the deadline passed before the request ran", model));
    case Refusal::kCancelled:
      return absl::CancelledError(absl::StrFormat("model '%s': cancelled before the request ran", model));
    default:
      return absl::UnavailableError("server: shutting down, expected another replica to take the request");
  }
}

}  // namespace

BatchScheduler::BatchScheduler(const Options& options)
    : clock_(*options.clock),
      budget_(std::make_shared<ByteBudget>(options.inflight_bytes, options.metrics->inflight_bytes)) {}

BatchScheduler::~BatchScheduler() {
  Stop();
  std::vector<Ended> ended;
  {
    MutexLock lock(mutex_);
    for (auto& [version, queue] : queues_) {
      for (auto& request : queue.waiting) ended.push_back({std::move(request), Refusal::kDraining});
    }
    queues_.clear();
  }
  End(ended);
}

void BatchScheduler::SetInlineRunner(std::function<void(Batch)> run_inline) {
  run_inline_ = std::move(run_inline);
}

void BatchScheduler::Push(std::shared_ptr<Request> request) {
  const absl::Time now = clock_.Now();
  request->enqueued = now;
  std::vector<Ended> ended;
  absl::Status admitted;
  Refusal why;
  {
    MutexLock lock(mutex_);
    Queue& queue = QueueOf(request->model);
    const BatchingConfig& limits = request->model->config().batching;
    // The dead must not keep the living out.
    if (queue.rows + request->rows.count > limits.max_queue_rows) RemoveDead(queue, now, ended);
    admitted = Admit(*request, queue, now, why);
    if (admitted.ok()) {
      queue.rows += request->rows.count;
      request->model->metrics().queue_rows.Set(static_cast<double>(queue.rows));
      // A worker that waits already looks again when the oldest is due and at the nearest deadline.
      const bool changes_that = queue.waiting.empty() || queue.rows >= request->model->max_batch_rows() ||
                                request->deadline < queue.nearest_deadline;
      queue.nearest_deadline = std::min(queue.nearest_deadline, request->deadline);
      queue.waiting.push_back(request);
      if (changes_that) changed_.NotifyOne();
    }
  }
  End(ended);
  if (!admitted.ok()) return End(*request, why, admitted);
  if (run_inline_) {
    while (std::optional<Batch> batch = TryTake()) run_inline_(*std::move(batch));
  }
}

absl::Status BatchScheduler::Admit(Request& request, const Queue& queue, absl::Time now, Refusal& why) const {
  const ModelVersion& model = *request.model;
  const int64_t rows = request.rows.count;
  if (stopped_) {
    why = Refusal::kDraining;
    return StatusOfDeath(request, why);
  }
  if (rows < 1 || rows > model.max_batch_rows()) {
    why = Refusal::kTooLarge;
    return absl::InvalidArgumentError(absl::StrFormat("model '%s': a batch of %d rows, expected 1 to %d",
                                                      model.name(), rows, model.max_batch_rows()));
  }
  if (const std::optional<Refusal> cause = CauseOfDeath(request, now)) {
    why = *cause;
    return StatusOfDeath(request, why);
  }
  if (now + queue.fastest_run > request.deadline && queue.fastest_run < absl::InfiniteDuration()) {
    why = Refusal::kDeadline;
    return absl::DeadlineExceededError(absl::StrFormat(
        "model '%s': the deadline is in %s, expected at least %s, its fastest run", model.name(),
        absl::FormatDuration(request.deadline - now), absl::FormatDuration(queue.fastest_run)));
  }
  const absl::Duration pushback =
      queue.usual_run == absl::ZeroDuration()
          ? kFirstPushback
          : queue.usual_run * static_cast<double>(1 + queue.rows / model.max_batch_rows());
  const int64_t max_queue_rows = model.config().batching.max_queue_rows;
  if (queue.rows + rows > max_queue_rows) {
    why = Refusal::kQueueFull;
    return WithPushback(absl::StrFormat("model '%s': %d rows wait and %d came, expected at most %d to wait",
                                        model.name(), queue.rows, rows, max_queue_rows),
                        pushback);
  }
  if (!budget_->TryAcquire(request.bytes)) {
    why = Refusal::kInflightBytes;
    return WithPushback(absl::StrFormat("server: %d bytes are in flight and %d came, expected at most %d",
                                        budget_->used_bytes(), request.bytes, budget_->limit_bytes()),
                        pushback);
  }
  request.budget = budget_;
  return absl::OkStatus();
}

void BatchScheduler::Cancel(const std::shared_ptr<Request>& request) {
  request->cancelled.store(true, std::memory_order_relaxed);
  std::vector<Ended> ended;
  {
    MutexLock lock(mutex_);
    const auto found = queues_.find(request->model);
    if (found != queues_.end()) RemoveDead(found->second, clock_.Now(), ended);
  }
  End(ended);
}

std::optional<Batch> BatchScheduler::Take() {
  while (true) {
    std::optional<Batch> batch;
    std::vector<Ended> ended;
    {
      MutexLock lock(mutex_);
      const absl::Time look_again = Select(batch, ended);
      if (!batch.has_value() && ended.empty()) {
        if (stopped_ && NothingWaits()) return std::nullopt;
        // An hour bounds what the system's clock is asked to add; waking early is harmless.
        const absl::Duration at_most = std::min(look_again - clock_.Now(), absl::Hours(1));
        changed_.WaitFor(mutex_, absl::ToChronoNanoseconds(at_most));
      }
    }
    End(ended);
    if (batch.has_value()) return batch;
  }
}

std::optional<Batch> BatchScheduler::TryTake() {
  std::optional<Batch> batch;
  std::vector<Ended> ended;
  {
    MutexLock lock(mutex_);
    Select(batch, ended);
  }
  End(ended);
  return batch;
}

absl::Time BatchScheduler::DropDead(Batch& batch) {
  const absl::Time now = clock_.Now();
  std::vector<Ended> ended;
  std::erase_if(batch.requests, [&](std::shared_ptr<Request>& request) {
    const std::optional<Refusal> cause = CauseOfDeath(*request, now);
    if (!cause.has_value()) return false;
    batch.rows -= request->rows.count;
    ended.push_back({std::move(request), *cause});
    return true;
  });
  End(ended);
  return now;
}

void BatchScheduler::Finish(const Batch& batch, absl::Duration run_time) {
  MutexLock lock(mutex_);
  Queue& queue = QueueOf(batch.model);
  --queue.running_batches;
  if (run_time > absl::ZeroDuration()) {
    queue.fastest_run = std::min(queue.fastest_run, run_time);
    queue.usual_run = queue.usual_run == absl::ZeroDuration()
                          ? run_time
                          : queue.usual_run + (run_time - queue.usual_run) * kNewestRunWeight;
  }
  if (!queue.waiting.empty()) changed_.NotifyOne();
}

void BatchScheduler::Stop() {
  MutexLock lock(mutex_);
  stopped_ = true;
  changed_.NotifyAll();
}

BatchScheduler::Queue& BatchScheduler::QueueOf(const ModelHandle& model) {
  const auto found = queues_.find(model);
  if (found != queues_.end()) return found->second;
  // A version comes seldom: the time to forget those that are gone.
  std::erase_if(queues_, [](const auto& entry) { return entry.first.expired(); });
  return queues_[model];
}

void BatchScheduler::RemoveDead(Queue& queue, absl::Time now, std::vector<Ended>& ended) {
  queue.nearest_deadline = absl::InfiniteFuture();
  std::erase_if(queue.waiting, [&](std::shared_ptr<Request>& request) {
    const std::optional<Refusal> cause = CauseOfDeath(*request, now);
    if (!cause.has_value()) {
      queue.nearest_deadline = std::min(queue.nearest_deadline, request->deadline);
      return false;
    }
    queue.rows -= request->rows.count;
    request->model->metrics().queue_rows.Set(static_cast<double>(queue.rows));
    ended.push_back({std::move(request), *cause});
    return true;
  });
  if (stopped_) changed_.NotifyAll();  // workers may wait for nothing now
}

BatchDecision BatchScheduler::Decide(const Queue& queue, absl::Time now) {
  const ModelVersion& model = *queue.waiting.front()->model;
  const bool company_may_come = !stopped_ && !run_inline_;
  const BatchPolicy policy = {
      .max_rows = model.max_batch_rows(),
      .max_delay = company_may_come ? model.config().batching.max_delay : absl::ZeroDuration(),
      // Until a run has shown how long one takes, a deadline leaves no time to wait for company.
      .expected_run = queue.usual_run == absl::ZeroDuration() ? absl::InfiniteDuration() : queue.usual_run,
  };
  view_.clear();
  int64_t rows = 0;
  for (const auto& request : queue.waiting) {
    view_.push_back({request->rows.count, request->enqueued, request->deadline});
    rows += request->rows.count;
    if (rows > policy.max_rows) break;  // the policy needs no more to see that the batch is full
  }
  return policy.Decide(view_, now);
}

absl::Time BatchScheduler::Select(std::optional<Batch>& batch, std::vector<Ended>& ended) {
  const absl::Time now = clock_.Now();
  absl::Time look_again = absl::InfiniteFuture();
  Queue* longest_due = nullptr;
  BatchDecision decision;
  for (auto& [version, queue] : queues_) {
    if (queue.nearest_deadline <= now) RemoveDead(queue, now, ended);
    if (queue.waiting.empty()) continue;
    look_again = std::min(look_again, queue.nearest_deadline);
    const std::optional<int>& instances = queue.waiting.front()->model->config().instances;
    if (instances.has_value() && queue.running_batches >= *instances) continue;  // Finish will notify
    const BatchDecision candidate = Decide(queue, now);
    if (candidate.close_requests == 0) {
      look_again = std::min(look_again, candidate.due);
    } else if (longest_due == nullptr || candidate.due < decision.due) {
      longest_due = &queue;
      decision = candidate;
    }
  }
  if (longest_due == nullptr) return look_again;

  batch.emplace();
  batch->model = longest_due->waiting.front()->model;
  batch->requests.reserve(decision.close_requests);
  for (size_t i = 0; i < decision.close_requests; ++i) {
    std::shared_ptr<Request> request = std::move(longest_due->waiting.front());
    longest_due->waiting.pop_front();
    longest_due->rows -= request->rows.count;
    batch->rows += request->rows.count;
    batch->requests.push_back(std::move(request));
  }
  batch->model->metrics().queue_rows.Set(static_cast<double>(longest_due->rows));
  ++longest_due->running_batches;
  if (!NothingWaits()) {
    changed_.NotifyOne();  // this worker is off to run it: another one must watch over what is left
  } else if (stopped_) {
    changed_.NotifyAll();  // those that waited for an instance to finish can go
  }
  return now;
}

bool BatchScheduler::NothingWaits() const {
  return std::all_of(queues_.begin(), queues_.end(),
                     [](const auto& entry) { return entry.second.waiting.empty(); });
}

void BatchScheduler::End(Request& request, Refusal why, const absl::Status& status) const {
  const ModelVersion& model = *request.model;
  model.metrics().rows_refused_total(why).Increment(
      static_cast<double>(std::max<int64_t>(request.rows.count, 0)));
  model.statistics().RecordFailure(clock_.Now() - request.enqueued);
  const std::function<void(absl::Status)> done = std::move(request.done);
  done(status);
}

void BatchScheduler::End(const std::vector<Ended>& ended) const {
  for (const auto& [request, why] : ended) End(*request, why, StatusOfDeath(*request, why));
}

}  // namespace hachi::server
