#pragma once

#include <algorithm>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "engine/base/clock.h"
#include "engine/base/mutex.h"
#include "server/batching/batch_policy.h"
#include "server/batching/request.h"
#include "server/batching/run_estimates.h"
#include "server/metrics/metrics.h"

namespace hachi::server {

// A payload of every RESOURCE_EXHAUSTED: in decimal, the milliseconds after which a retry has a chance.
inline constexpr std::string_view kPushbackPayloadUrl = "hachi/retry-pushback-ms";

// Requests of one model version, of the same shapes, that run together. Whoever takes one passes it to
// Finish.
struct Batch {
  ModelHandle model;
  std::shared_ptr<const PlanSet> plans;
  std::vector<std::shared_ptr<Request>> requests;
  int64_t rows = 0;
  Team team = Team::kWorker;  // whom it is for
  absl::Time expected_end;    // of its run
};

// Groups waiting requests of the same model version into batches and hands them to executor workers.
//
// Owned by Daemon; outlives the gRPC server and the Executor. Stop() is final: Push then answers UNAVAILABLE,
// and Take drains what is queued, holding nothing back, before it returns nothing.
//
// Ends requests itself with: INVALID_ARGUMENT no rows, or more than the model's largest batch;
// RESOURCE_EXHAUSTED the model's queue or the server's bytes in flight are full; DEADLINE_EXCEEDED the
// deadline passed before the run, or is nearer than the model's fastest run so far; CANCELLED; UNAVAILABLE
// stopped; or with what making plans for its shapes ended with. They are never computed then. Their metrics
// and statistics are recorded here.
//
// Thread-safe. Push and Cancel never block. Take blocks until there is a batch to run or the scheduler has
// stopped. A request's done is called without locks.
class BatchScheduler {
 public:
  struct Options {
    int64_t inflight_bytes = int64_t{256} << 20;
    int workers = 1;             // threads that call Take for workers; 0: see SetInlineRunner
    int threads_per_worker = 1;  // for the metric of idle cores
    bool has_wide_team = false;  // one more thread calls Take for it; it runs while no worker does

    // Has Model::MakePlans called for these plans and a batch of so many rows, off this thread, then
    // PlansMade. Empty: whoever finds that plans are missing makes them.
    std::function<void(ModelHandle model, std::shared_ptr<const PlanSet> plans, int64_t rows)> make_plans;

    ServerMetrics* metrics = nullptr;  // required
    const Clock* clock = &Clock::Real();
  };

  explicit BatchScheduler(const Options& options);

  // Ends what still waits: UNAVAILABLE.
  ~BatchScheduler();

  // Takes so many of the server's bytes for memory that a request needs before it can be pushed, and adds
  // them to request.bytes. RESOURCE_EXHAUSTED when there are not as many; the request is not to be pushed
  // then. REQUIRES: request.model and rows.count are set.
  absl::Status Reserve(Request& request, int64_t bytes);

  // REQUIRES: a filled request (see there) that was not pushed before.
  void Push(std::shared_ptr<Request> request);

  // Marks the request and, if it still waits, ends it now: CANCELLED, or DEADLINE_EXCEEDED if that has
  // passed. If a worker has it already, it ends as it would have, or CANCELLED if it does not run yet.
  // Harmless when it has ended. This is how a deadline is kept while every worker is busy: gRPC reports it as
  // a cancellation.
  void Cancel(const std::shared_ptr<Request>& request);

  // A batch of the model whose turn it is, among those with fewer batches running than their `instances`:
  // whose oldest request has waited longest, times the model's weight, since it came or since the model's
  // last batch was taken, whichever is later. So a model that is flooded waits behind one that is asked now
  // and then.
  std::optional<Batch> Take(Team team = Team::kWorker);

  // Take, if there is something to take now.
  std::optional<Batch> TryTake(Team team = Team::kWorker);

  // Just before the run: ends the requests of `batch` whose deadline has passed or which were cancelled, and
  // removes them. Returns the time that it compared deadlines with.
  absl::Time DropDead(Batch& batch);

  // After the run, before its requests' done; or instead of a run when DropDead left nothing, with a zero
  // `run_time`. Frees the model for its next batch. REQUIRES: batch.expected_end is as Take left it.
  void Finish(const Batch& batch, absl::Duration run_time);

  // Has the wide team's thread call this in Take, while nothing waits for it; never after Stop. Requests run
  // on workers meanwhile.
  void RunOnWideTeam(std::function<void()> errand);

  // What make_plans asked for has been done. Requests of shapes that have no plan still end with `status`.
  void PlansMade(const std::shared_ptr<const PlanSet>& plans, const absl::Status& status);

  // There are no workers: Push runs what it queued, at once, through this. REQUIRES: nothing was pushed yet.
  void SetInlineRunner(std::function<void(Batch)> run_inline);

  void Stop();

 private:
  // So many runs of a model on workers later its requests are tried on the wide team once more, whatever was
  // seen of that; twice as many after each try that was followed by none on its merits. Guessed.
  static constexpr int64_t kRunsUntilWide = 100, kMostRunsUntilWide = 64 * kRunsUntilWide;

  // What the queues of a model version share.
  struct Line {
    int64_t rows = 0;  // that wait
    int running_batches = 0;
    absl::Time last_taken = absl::InfinitePast();
  };
  // Requests of one model version and one set of shapes.
  struct Queue {
    std::shared_ptr<Line> line;
    std::deque<std::shared_ptr<Request>> waiting;
    int64_t wanted_rows = 0;  // of the largest plan that was asked for
    absl::Time last_push = absl::InfinitePast();
    absl::Duration arrival_gap = absl::InfiniteDuration();  // moving average, from the second request on
    absl::Time nearest_deadline = absl::InfiniteFuture();   // of those waiting, or earlier
    absl::Duration fastest_run = absl::InfiniteDuration();  // until the first run
    RunEstimates runs;                                      // empty until there is a plan
    RunEstimates wide_runs;                                 // empty where the wide team has no plans
    int64_t runs_until_wide = kRunsUntilWide;
    int64_t runs_since_wide = kRunsUntilWide;  // on workers, while the wide team had plans

    bool wide_is_tried() const { return runs_since_wide >= runs_until_wide; }
  };
  // Of late.
  static double ArrivalsPerSecond(const Queue& queue, absl::Time now) {
    const absl::Duration gap = std::max(queue.arrival_gap, now - queue.last_push);
    return gap > absl::ZeroDuration() ? 1 / absl::ToDoubleSeconds(gap) : 0;
  }
  struct Ended {
    std::shared_ptr<Request> request;
    Refusal why;
  };
  // Plans to ask for once the lock is gone.
  struct Wanted {
    ModelHandle model;
    std::shared_ptr<const PlanSet> plans;
    int64_t rows;
  };

  // OK, and the request holds so many bytes more; or RESOURCE_EXHAUSTED, telling the client to wait for
  // `pushback` at the least.
  absl::Status Hold(Request& request, int64_t bytes, absl::Time now, absl::Duration pushback)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  // OK, and the request's bytes are taken; or the refusal that `why` then names.
  absl::Status Admit(Request& request, const Queue& queue, absl::Time now, Refusal& why)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  Queue& QueueOf(const ModelHandle& model, const std::shared_ptr<const PlanSet>& plans)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  // Moves the waiting requests whose deadline has passed, or which were cancelled, to `ended`.
  void RemoveDead(Queue& queue, absl::Time now, std::vector<Ended>& ended)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  // `arrivals_per_s` are of all queues.
  BatchDecision Decide(const Queue& queue, absl::Time now, double arrivals_per_s)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  // Sets others_ to what Outlook::others says of `queue` for a worker that is free now.
  void FindOthers(const Queue& queue, absl::Time now) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  // Counts the core time since the last call in which workers were idle while rows waited. To be called
  // before either changes.
  void CountIdleTime(absl::Time now) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  // Takes the batch whose turn it is, if it is for that team, and whoever died waiting. Returns when to look
  // again if it took nothing.
  absl::Time Select(Team team, std::optional<Batch>& batch, std::vector<Ended>& ended,
                    std::optional<Wanted>& wanted) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  // Estimates of its runs, as soon as there are plans.
  void EstimateRuns(Queue& queue, const PlanSet& plans) const;

  // Whose turn it is, and what becomes of it; null: nobody's, before `look_again`.
  Queue* Choose(absl::Time now, BatchDecision& decision, absl::Time& look_again, std::vector<Ended>& ended)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  // Has one more thread of that team look whether there is something to take.
  void Wake(Team team) { (team == Team::kWide ? wide_changed_ : changed_).NotifyOne(); }
  void WakeAll() {
    changed_.NotifyAll();
    wide_changed_.NotifyAll();
  }

  void Wait(Team team, absl::Time until) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  // The next errand, if there is one: the wide team's thread is away until it looks for a batch again.
  std::function<void()> LeaveOnErrand() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  // Asks for plans for a batch of `rows` in that queue, unless they were asked for.
  static std::optional<Wanted> Want(Queue& queue, const Request& request, int64_t rows);
  void MakePlans(const std::optional<Wanted>& wanted);

  bool NothingWaits() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  // Records the request's end and calls its done.
  void End(Request& request, Refusal why, const absl::Status& status) const;
  void End(const std::vector<Ended>& ended) const;

  const Options options_;
  const Clock& clock_;
  const std::shared_ptr<ByteBudget> budget_;
  absl::Time full_since_ ABSL_GUARDED_BY(mutex_) = absl::InfiniteFuture();  // of budget_
  std::function<void(Batch)> run_inline_;

  Mutex mutex_;
  CondVar changed_, wide_changed_;
  // Weak pointers keep an address from being taken for a later version's.
  std::map<std::weak_ptr<const ModelVersion>, std::shared_ptr<Line>, std::owner_less<>> lines_
      ABSL_GUARDED_BY(mutex_);
  std::map<std::weak_ptr<const PlanSet>, Queue, std::owner_less<>> queues_ ABSL_GUARDED_BY(mutex_);
  std::multiset<absl::Time> expected_ends_ ABSL_GUARDED_BY(mutex_);  // of the batches that run
  absl::Time wide_ended_ ABSL_GUARDED_BY(mutex_) = absl::InfinitePast();
  bool wide_runs_ ABSL_GUARDED_BY(mutex_) = false;     // one of them on the wide team
  int idle_workers_ ABSL_GUARDED_BY(mutex_) = 0;       // threads that wait in Take
  bool wide_idle_ ABSL_GUARDED_BY(mutex_) = false;     // so does the wide team's
  bool wide_is_away_ ABSL_GUARDED_BY(mutex_) = false;  // on an errand
  std::deque<std::function<void()>> errands_ ABSL_GUARDED_BY(mutex_);
  absl::Time idle_counted_until_ ABSL_GUARDED_BY(mutex_);
  std::vector<Waiting> view_ ABSL_GUARDED_BY(mutex_);           // Decide's memory, kept
  std::vector<absl::Duration> others_ ABSL_GUARDED_BY(mutex_);  // likewise
  bool stopped_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace hachi::server
