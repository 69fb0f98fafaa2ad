#include "server/batching/batch_scheduler.h"

#include <algorithm>
#include <limits>
#include <string>
#include <utility>

#include "absl/strings/cord.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "engine/base/status_macros.h"

namespace hachi::server {
namespace {

// Weight of the newest gap between requests in the moving average: about the last ten count. Guessed.
constexpr double kNewestGapWeight = 0.2;

// What a client is told to wait before the model's first run has shown how long one takes. Guessed.
constexpr absl::Duration kFirstPushback = absl::Milliseconds(100);

// Less is gone before an answer has crossed a network; more, and a client looks elsewhere. Guessed.
constexpr absl::Duration kLeastPushback = absl::Milliseconds(5);
constexpr absl::Duration kMostPushback = absl::Seconds(10);

// At least until a worker that runs something is free.
constexpr absl::Duration kLeastWait = absl::Microseconds(1);

absl::Status WithPushback(std::string message, absl::Duration pushback) {
  const int64_t ms = absl::ToInt64Milliseconds(std::clamp(pushback, kLeastPushback, kMostPushback));
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
    : options_(options),
      clock_(*options.clock),
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
  std::optional<Team> wake;
  std::optional<Wanted> wanted;
  {
    MutexLock lock(mutex_);
    Queue& queue = QueueOf(request->model, request->plans);
    const BatchingConfig& limits = request->model->config().batching;
    // The dead must not keep the living out.
    if (queue.line->rows + request->rows.count > limits.max_queue_rows)
      for (auto& [plans, each] : queues_)
        if (each.line == queue.line) RemoveDead(each, now, ended);
    admitted = Admit(*request, queue, now, why);
    if (admitted.ok()) {
      CountIdleTime(now);
      const absl::Duration gap = now - queue.last_push;
      queue.arrival_gap = queue.arrival_gap == absl::InfiniteDuration()
                              ? gap
                              : queue.arrival_gap + (gap - queue.arrival_gap) * kNewestGapWeight;
      queue.last_push = now;
      queue.line->rows += request->rows.count;
      request->model->metrics().queue_rows.Set(static_cast<double>(queue.line->rows));
      queue.nearest_deadline = std::min(queue.nearest_deadline, request->deadline);
      queue.waiting.push_back(request);
      if (wide_idle_ && expected_ends_.empty() && !queue.wide_runs.empty())
        wake = Team::kWide;  // which passes it on, if it is not for it
      else if (idle_workers_ > 0)
        wake = Team::kWorker;
      if (request->model->has_free_shapes()) {
        const bool planned = request->plans->largest_rows() > 0;
        (planned ? request->model->metrics().plan_cache_hits_total
                 : request->model->metrics().plan_cache_misses_total)
            .Increment();
        if (!planned) wanted = Want(queue, *request, 1);
      }
    }
  }
  MakePlans(wanted);
  if (wake) Wake(*wake);
  End(ended);
  if (!admitted.ok()) return End(*request, why, admitted);
  if (run_inline_) {
    while (std::optional<Batch> batch = TryTake()) run_inline_(*std::move(batch));
  }
}

absl::Status BatchScheduler::Admit(Request& request, const Queue& queue, absl::Time now, Refusal& why) {
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
  const absl::Duration pushback = queue.runs.empty() ? kFirstPushback
                                                     : queue.runs.At(model.max_batch_rows()) *
                                                           (1 + queue.line->rows / model.max_batch_rows());
  const int64_t max_queue_rows = model.config().batching.max_queue_rows;
  if (queue.line->rows + rows > max_queue_rows) {
    why = Refusal::kQueueFull;
    return WithPushback(absl::StrFormat("model '%s': %d rows wait and %d came, expected at most %d to wait",
                                        model.name(), queue.line->rows, rows, max_queue_rows),
                        pushback);
  }
  why = Refusal::kInflightBytes;
  return Hold(request, request.bytes - request.held_bytes, now, pushback);
}

absl::Status BatchScheduler::Hold(Request& request, int64_t bytes, absl::Time now, absl::Duration pushback) {
  if (!budget_->TryAcquire(bytes)) {
    // Not the model holds the bytes, but whoever does not take its answers: it may be as long again as it
    // was.
    if (full_since_ == absl::InfiniteFuture()) full_since_ = now;
    const absl::Duration full = now - full_since_;
    return WithPushback(absl::StrFormat("server: %d bytes are in flight and %d came, expected at most %d",
                                        budget_->used_bytes(), bytes, budget_->limit_bytes()),
                        std::max(pushback, full));
  }
  full_since_ = absl::InfiniteFuture();
  request.budget = budget_;
  request.held_bytes += bytes;
  return absl::OkStatus();
}

absl::Status BatchScheduler::Reserve(Request& request, int64_t bytes) {
  MutexLock lock(mutex_);
  const absl::Status held = Hold(request, bytes, clock_.Now(), kFirstPushback);
  if (held.ok())
    request.bytes += bytes;
  else
    request.model->metrics()
        .rows_refused_total(Refusal::kInflightBytes)
        .Increment(static_cast<double>(request.rows.count));
  return held;
}

void BatchScheduler::Cancel(const std::shared_ptr<Request>& request) {
  request->cancelled.store(true, std::memory_order_relaxed);
  std::vector<Ended> ended;
  {
    MutexLock lock(mutex_);
    const auto found = queues_.find(request->plans);
    if (found != queues_.end()) RemoveDead(found->second, clock_.Now(), ended);
  }
  End(ended);
}

std::optional<Batch> BatchScheduler::Take(Team team) {
  while (true) {
    std::optional<Batch> batch;
    std::vector<Ended> ended;
    std::optional<Wanted> wanted;
    std::function<void()> errand;
    {
      MutexLock lock(mutex_);
      if (team == Team::kWide) wide_is_away_ = false;
      const absl::Time look_again = Select(team, batch, ended, wanted);
      if (team == Team::kWide && !batch.has_value() && !stopped_) errand = LeaveOnErrand();
      if (!batch.has_value() && ended.empty() && !errand) {
        if (stopped_ && NothingWaits()) return std::nullopt;
        Wait(team, look_again);
      }
    }
    End(ended);
    MakePlans(wanted);
    if (errand) errand();
    if (batch.has_value()) return batch;
  }
}

std::function<void()> BatchScheduler::LeaveOnErrand() {
  if (errands_.empty()) return nullptr;
  std::function<void()> errand = std::move(errands_.front());
  errands_.pop_front();
  wide_is_away_ = true;
  return errand;
}

void BatchScheduler::RunOnWideTeam(std::function<void()> errand) {
  MutexLock lock(mutex_);
  errands_.push_back(std::move(errand));
  Wake(Team::kWide);
}

void BatchScheduler::Wait(Team team, absl::Time until) {
  // An hour bounds what the system's clock is asked to add; waking early is harmless.
  const auto at_most = absl::ToChronoNanoseconds(std::min(until - clock_.Now(), absl::Hours(1)));
  if (team == Team::kWide) {
    wide_idle_ = true;
    wide_changed_.WaitFor(mutex_, at_most);
    wide_idle_ = false;
    return;
  }
  ++idle_workers_;
  changed_.WaitFor(mutex_, at_most);
  CountIdleTime(clock_.Now());
  --idle_workers_;
}

std::optional<Batch> BatchScheduler::TryTake(Team team) {
  std::optional<Batch> batch;
  std::vector<Ended> ended;
  std::optional<Wanted> wanted;
  {
    MutexLock lock(mutex_);
    Select(team, batch, ended, wanted);
  }
  End(ended);
  MakePlans(wanted);
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
  Queue& queue = QueueOf(batch.model, batch.plans);
  const bool was_wide = batch.team == Team::kWide;
  --queue.line->running_batches;
  expected_ends_.erase(expected_ends_.find(batch.expected_end));
  if (was_wide) {
    wide_ended_ = clock_.Now();
    CountIdleTime(wide_ended_);
    wide_runs_ = false;
  }
  if (run_time > absl::ZeroDuration()) {
    queue.fastest_run = std::min(queue.fastest_run, run_time);
    if (was_wide && queue.wide_is_tried()) {
      queue.wide_runs = RunEstimates({{batch.rows, run_time}});  // what was seen long ago says nothing
      queue.runs_until_wide = std::min(2 * queue.runs_until_wide, kMostRunsUntilWide);
    } else {
      (was_wide ? queue.wide_runs : queue.runs).Record(batch.rows, run_time);
      if (was_wide) queue.runs_until_wide = kRunsUntilWide;
    }
    queue.runs_since_wide = was_wide ? 0 : queue.runs_since_wide + 1;
  }
  if (was_wide ? !NothingWaits() : queue.line->rows > 0) Wake(Team::kWorker);
}

std::optional<BatchScheduler::Wanted> BatchScheduler::Want(Queue& queue, const Request& request,
                                                           int64_t rows) {
  if (queue.wanted_rows >= rows) return std::nullopt;
  queue.wanted_rows = rows;
  return Wanted{request.model, request.plans, rows};
}

void BatchScheduler::MakePlans(const std::optional<Wanted>& wanted) {
  if (!wanted) return;
  const auto& [model, plans, rows] = *wanted;
  if (options_.make_plans) return options_.make_plans(model, plans, rows);
  PlansMade(plans, model->model().MakePlans(*plans, rows));
}

void BatchScheduler::PlansMade(const std::shared_ptr<const PlanSet>& plans, const absl::Status& status) {
  std::vector<std::shared_ptr<Request>> ended;
  {
    MutexLock lock(mutex_);
    const auto found = queues_.find(plans);
    if (found == queues_.end()) return;
    Queue& queue = found->second;
    CountIdleTime(clock_.Now());
    if (plans->largest_rows() == 0) {
      queue.wanted_rows = 0;
      ended.assign(queue.waiting.begin(), queue.waiting.end());
      queue.waiting.clear();
      for (const auto& request : ended) queue.line->rows -= request->rows.count;
      if (!ended.empty())
        ended.front()->model->metrics().queue_rows.Set(static_cast<double>(queue.line->rows));
    }
    WakeAll();
  }
  for (const auto& request : ended)
    End(*request, Refusal::kNoPlan,
        WithContext(status, absl::StrCat("model '", request->model->name(), "'")));
}

void BatchScheduler::Stop() {
  MutexLock lock(mutex_);
  stopped_ = true;
  WakeAll();
}

BatchScheduler::Queue& BatchScheduler::QueueOf(const ModelHandle& model,
                                               const std::shared_ptr<const PlanSet>& plans) {
  const auto found = queues_.find(plans);
  if (found != queues_.end()) return found->second;
  // They come seldom: the time to forget those that are gone.
  std::erase_if(queues_, [](const auto& entry) { return entry.first.expired(); });
  std::erase_if(lines_, [](const auto& entry) { return entry.first.expired(); });
  std::shared_ptr<Line>& line = lines_[model];
  if (line == nullptr) line = std::make_shared<Line>();
  Queue& queue = queues_[plans];
  queue.line = line;
  return queue;
}

void BatchScheduler::RemoveDead(Queue& queue, absl::Time now, std::vector<Ended>& ended) {
  queue.nearest_deadline = absl::InfiniteFuture();
  std::erase_if(queue.waiting, [&](std::shared_ptr<Request>& request) {
    const std::optional<Refusal> cause = CauseOfDeath(*request, now);
    if (!cause.has_value()) {
      queue.nearest_deadline = std::min(queue.nearest_deadline, request->deadline);
      return false;
    }
    queue.line->rows -= request->rows.count;
    request->model->metrics().queue_rows.Set(static_cast<double>(queue.line->rows));
    ended.push_back({std::move(request), *cause});
    return true;
  });
  if (stopped_) WakeAll();  // they may wait for nothing now
}

void BatchScheduler::FindOthers(const Queue& queue, absl::Time now) {
  others_.clear();
  const auto running = static_cast<int>(expected_ends_.size());
  others_.resize(static_cast<size_t>(std::max(0, options_.workers - 1 - running)));
  // A run that is overdue is expected to take as much longer again.
  for (absl::Time end : expected_ends_) others_.push_back(std::max(end - now, now - end) + kLeastWait);
  std::ranges::sort(others_);
  const std::optional<int>& instances = queue.waiting.front()->model->config().instances;
  if (instances.has_value()) {
    const auto cap = static_cast<size_t>(std::max(0, *instances - 1 - queue.line->running_batches));
    if (cap < others_.size()) others_.resize(cap);
  }
}

BatchDecision BatchScheduler::Decide(const Queue& queue, absl::Time now, double arrivals_per_s) {
  const ModelVersion& model = *queue.waiting.front()->model;
  FindOthers(queue, now);
  view_.clear();
  for (const auto& request : queue.waiting)
    view_.push_back({request->rows.count, request->enqueued, request->deadline});
  const BatchPolicy policy = {.max_rows = model.max_batch_rows(),
                              .max_delay = model.config().batching.max_delay};
  const bool company_may_come = !stopped_ && !run_inline_;
  const bool may_be_wide =
      !wide_is_away_ && !queue.wide_runs.empty() && !model.config().instances.has_value();
  return policy.Decide(
      view_, now,
      {.runs = queue.runs,
       .others = others_,
       .arrival_gap = company_may_come ? queue.arrival_gap : absl::InfiniteDuration(),
       .wide_runs = may_be_wide ? &queue.wide_runs : nullptr,
       .wide_is_tried = queue.wide_is_tried(),
       .wide_ended = wide_ended_,
       .other_arrivals_per_s = std::max(0.0, arrivals_per_s - ArrivalsPerSecond(queue, now))});
}

void BatchScheduler::EstimateRuns(Queue& queue, const PlanSet& plans) const {
  if (queue.runs.empty()) queue.runs = RunEstimates(plans.run_times(Team::kWorker));
  if (options_.has_wide_team && queue.wide_runs.empty())
    queue.wide_runs = RunEstimates(plans.run_times(Team::kWide));
}

void BatchScheduler::CountIdleTime(absl::Time now) {
  if (idle_workers_ > 0 && !wide_runs_ && !NothingWaits()) {
    const int cores = idle_workers_ * options_.threads_per_worker;
    options_.metrics->idle_core_seconds_total.Increment(absl::ToDoubleSeconds(now - idle_counted_until_) *
                                                        cores);
  }
  idle_counted_until_ = now;
}

BatchScheduler::Queue* BatchScheduler::Choose(absl::Time now, BatchDecision& decision, absl::Time& look_again,
                                              std::vector<Ended>& ended) {
  Queue* chosen = nullptr;
  absl::Duration longest_wait;
  double arrivals_per_s = 0;
  for (const auto& [plans, queue] : queues_)
    if (options_.has_wide_team) arrivals_per_s += ArrivalsPerSecond(queue, now);
  for (auto& [version, queue] : queues_) {
    if (queue.nearest_deadline <= now) RemoveDead(queue, now, ended);
    if (queue.waiting.empty()) continue;
    look_again = std::min(look_again, queue.nearest_deadline);
    if (wide_runs_) continue;  // Finish will notify
    const Request& oldest = *queue.waiting.front();
    const ModelConfig& config = oldest.model->config();
    if (config.instances.has_value() && queue.line->running_batches >= *config.instances)
      continue;  // Finish will notify
    const PlanSet& plans = *oldest.plans;
    if (plans.largest_rows() == 0) continue;  // PlansMade will notify
    EstimateRuns(queue, plans);
    const BatchDecision candidate = Decide(queue, now, arrivals_per_s);
    if (candidate.close_requests == 0) {
      look_again = std::min(look_again, candidate.hold_until);
      continue;
    }
    const absl::Duration wait =
        (now - std::max(oldest.enqueued, queue.line->last_taken)) * config.batching.weight;
    // Shapes of one model have waited as long since its last batch: the oldest request decides.
    if (chosen == nullptr || wait > longest_wait ||
        (wait == longest_wait && oldest.enqueued < chosen->waiting.front()->enqueued)) {
      chosen = &queue;
      longest_wait = wait;
      decision = candidate;
    }
  }
  return chosen;
}

absl::Time BatchScheduler::Select(Team team, std::optional<Batch>& batch, std::vector<Ended>& ended,
                                  std::optional<Wanted>& wanted) {
  const absl::Time now = clock_.Now();
  CountIdleTime(now);
  absl::Time look_again = absl::InfiniteFuture();
  BatchDecision decision;
  Queue* const chosen = Choose(now, decision, look_again, ended);
  if (chosen == nullptr) return look_again;
  if (decision.team != team) {
    Wake(decision.team);
    return look_again;
  }
  batch.emplace();
  batch->team = team;
  batch->model = chosen->waiting.front()->model;
  batch->plans = chosen->waiting.front()->plans;
  batch->requests.reserve(decision.close_requests);
  for (size_t i = 0; i < decision.close_requests; ++i) {
    std::shared_ptr<Request> request = std::move(chosen->waiting.front());
    chosen->waiting.pop_front();
    chosen->line->rows -= request->rows.count;
    batch->rows += request->rows.count;
    batch->requests.push_back(std::move(request));
  }
  ModelMetrics& metrics = batch->model->metrics();
  metrics.queue_rows.Set(static_cast<double>(chosen->line->rows));
  metrics.batches_total(decision.reason).Increment();
  ++chosen->line->running_batches;
  chosen->line->last_taken = now;
  if (batch->rows > batch->plans->largest_rows())
    wanted = Want(*chosen, *batch->requests.front(), batch->rows);
  wide_runs_ = team == Team::kWide;
  if (wide_runs_) metrics.wide_batches_total.Increment();
  batch->expected_end = now + (wide_runs_ ? chosen->wide_runs : chosen->runs).At(batch->rows);
  expected_ends_.insert(batch->expected_end);
  if (!NothingWaits()) {
    Wake(Team::kWorker);  // this one is off to run it: another must watch over what is left
  } else if (stopped_) {
    WakeAll();  // those that waited for an instance to finish can go
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
