#include "server/client/load_loop.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <limits>
#include <random>
#include <thread>

#include "engine/base/clock.h"
#include "engine/base/mutex.h"

namespace hachi::server {

double LoadReport::throughput_per_second() const {
  return elapsed > absl::ZeroDuration() ? static_cast<double>(succeeded) / absl::ToDoubleSeconds(elapsed) : 0;
}

absl::Duration LoadReport::Percentile(double p) const {
  if (latencies.empty()) return absl::ZeroDuration();
  const auto rank = static_cast<size_t>(std::ceil(p * static_cast<double>(latencies.size())));
  return latencies[std::clamp<size_t>(rank, 1, latencies.size()) - 1];
}

namespace {

// Sends from the caller's thread only, so that `send` may complete a request before it returns.
class LoadLoop {
 public:
  LoadLoop(const LoadLoopOptions& options, const LoadSend& send, const std::function<void(int64_t)>& progress)
      : options_(options), send_(send), progress_(progress) {}

  LoadReport Run() {
    const absl::Time start = clock_.Now();
    const absl::Time end = options_.duration ? start + *options_.duration : absl::InfiniteFuture();
    next_due_ = start;
    const int64_t limit = options_.requests.value_or(std::numeric_limits<int64_t>::max());
    int64_t sent = 0;
    for (; sent < limit; ++sent) {
      const std::optional<absl::Time> due = WaitForTurn(end);
      if (!due) break;
      {
        MutexLock lock(mutex_);
        ++in_flight_;
      }
      send_(sent, [this, due = *due](const absl::Status& status, Verdict verdict) {
        Finish(due, status, verdict);
      });
    }
    MutexLock lock(mutex_);
    while (in_flight_ > 0) WaitALittle(absl::InfiniteFuture());
    report_.sent = sent;
    report_.elapsed = clock_.Now() - start;
    std::sort(report_.latencies.begin(), report_.latencies.end());
    return std::move(report_);
  }

 private:
  // When the next request is due, after waiting until then; nothing when the time to send is over.
  std::optional<absl::Time> WaitForTurn(absl::Time end) {
    if (options_.concurrency == 0) {
      const absl::Time due = next_due_;
      next_due_ += absl::Seconds((options_.poisson ? gap_(random_) : 1.0) / options_.rate_per_second);
      if (due >= end) return std::nullopt;
      MutexLock lock(mutex_);
      while (clock_.Now() < due) WaitALittle(due);
      return due;
    }
    MutexLock lock(mutex_);
    while (in_flight_ >= options_.concurrency && clock_.Now() < end) WaitALittle(end);
    const absl::Time now = clock_.Now();
    if (now >= end) return std::nullopt;
    return now;
  }

  // Until `until`, an answer, or the next report of progress, whichever comes first.
  void WaitALittle(absl::Time until) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    const absl::Duration at_most = std::min(until - clock_.Now(), absl::Seconds(1));
    if (at_most > absl::ZeroDuration()) changed_.WaitFor(mutex_, absl::ToChronoNanoseconds(at_most));
    if (!progress_ || clock_.Now() < next_progress_) return;
    next_progress_ = clock_.Now() + absl::Seconds(1);
    progress_(answered_);
  }

  void Finish(absl::Time due, const absl::Status& status, Verdict verdict) {
    const absl::Duration latency = clock_.Now() - due;
    MutexLock lock(mutex_);
    --in_flight_;
    ++answered_;
    if (!status.ok()) {
      if (report_.errors[status.code()]++ == 0)
        report_.first_message[status.code()] = std::string(status.message());
    } else {
      ++report_.succeeded;
      report_.latencies.push_back(latency);
      if (verdict == Verdict::kDifferent) ++report_.different;
    }
    changed_.NotifyOne();  // under the lock: the waiter may destroy *this as soon as it is released
  }

  const LoadLoopOptions& options_;
  const LoadSend& send_;
  const std::function<void(int64_t)>& progress_;
  const Clock& clock_ = Clock::Real();
  absl::Time next_due_;  // of an open loop
  std::minstd_rand random_;
  std::exponential_distribution<> gap_;
  Mutex mutex_;
  CondVar changed_;
  LoadReport report_ ABSL_GUARDED_BY(mutex_);
  int64_t in_flight_ ABSL_GUARDED_BY(mutex_) = 0;
  int64_t answered_ ABSL_GUARDED_BY(mutex_) = 0;
  absl::Time next_progress_ ABSL_GUARDED_BY(mutex_) = clock_.Now() + absl::Seconds(1);
};

}  // namespace

LoadReport RunLoadLoop(const LoadLoopOptions& options, const LoadSend& send,
                       const std::function<void(int64_t answered)>& progress) {
  return LoadLoop(options, send, progress).Run();
}

}  // namespace hachi::server
