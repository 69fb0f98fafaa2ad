#include "server/daemon_signals.h"

#include <pthread.h>
#include <signal.h>

#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "engine/base/clock.h"
#include "engine/base/log.h"
#include "engine/base/mutex.h"
#include "engine/base/status_macros.h"

namespace hachi::server {
namespace {

// How long calls in flight have after a second signal, and what runs without a client after the drain.
// Guessed: less than anybody waits who has asked twice.
constexpr absl::Duration kHurry = absl::Seconds(2);
constexpr absl::Duration kLeftBehind = absl::Seconds(2);  // longer than a log queue takes to end

// Ends the process, whatever its threads do.
[[noreturn]] void EndNow(int exit_code) {
  FlushLog(absl::Seconds(1));
  std::_Exit(exit_code);
}

// The signals that this process waits for instead of being ended by them.
//
// Confined to the thread that made it, whose threads have them blocked too.
class Signals {
 public:
  Signals() {
    sigemptyset(&all_);
    for (const int signal : {SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGUSR2}) sigaddset(&all_, signal);
    pthread_sigmask(SIG_BLOCK, &all_, nullptr);
    // Who writes to somebody that is gone gets an error.
    ::signal(SIGPIPE, SIG_IGN);
    // Whatever started this process ignores: ends of processes that it starts are waited for.
    ::signal(SIGCHLD, SIG_DFL);
  }

  // Waits for a signal that ends, for so long at most; false when none came or when `stop` was set before one
  // that does not end.
  bool WaitForEnd(absl::Duration at_most, const std::atomic<bool>& stop) const {
    const absl::Time end = Clock::Real().Now() + at_most;
    while (true) {
      const absl::Duration left = std::max(absl::ZeroDuration(), end - Clock::Real().Now());
      const timespec time = absl::ToTimespec(std::min(left, absl::Hours(1000)));
      const int signal = sigtimedwait(&all_, nullptr, &time);
      if (signal < 0 && errno == EAGAIN && left < absl::Hours(1000)) return false;
      if (signal < 0) continue;
      if (signal == SIGTERM || signal == SIGINT) {
        LogInfo(absl::StrCat("signal ", signal, ": ", strsignal(signal)));
        return true;
      }
      if (stop) return false;
      LogInfo(absl::StrCat("signal ", signal, ": ", strsignal(signal), ", nothing to do"));
    }
  }

 private:
  sigset_t all_;
};

// Ends the process, as if all its threads had ended, unless it is destroyed soon.
//
// Thread-safe.
class LeaveBehind {
 public:
  LeaveBehind() : thread_([this] { Loop(); }) {}
  ~LeaveBehind() {
    {
      MutexLock lock(mutex_);
      ended_ = true;
      changed_.NotifyAll();
    }
    thread_.join();
  }

 private:
  void Loop() {
    const absl::Time end = Clock::Real().Now() + kLeftBehind;
    {
      MutexLock lock(mutex_);
      while (!ended_ && Clock::Real().Now() < end)
        changed_.WaitFor(mutex_, absl::ToChronoNanoseconds(end - Clock::Real().Now()));
      if (ended_) return;
    }
    LogWarning("a load or a run that goes on is left behind");
    EndNow(0);
  }

  Mutex mutex_;
  CondVar changed_;
  bool ended_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread thread_;  // last: it uses the others
};

}  // namespace

absl::Status RunUntilSignalled(Daemon::Options options, const std::function<void(const Daemon&)>& on_start) {
  const Signals signals;
  const absl::Duration delay = options.config.drain_delay;
  ASSIGN_OR_RETURN(std::unique_ptr<Daemon> daemon, Daemon::Start(std::move(options)));
  on_start(*daemon);

  std::atomic<bool> drained = false;
  signals.WaitForEnd(absl::InfiniteDuration(), drained);
  LogInfo(absl::StrCat("draining, readiness off for ", absl::FormatDuration(delay)));
  daemon->BeginDrain();
  int count = 1;
  const auto hurry = [&] {
    if (++count > 2) {
      LogWarning("ended before it has drained");
      EndNow(1);
    }
    LogInfo("draining in a hurry");
    daemon->Hurry(kHurry);
  };
  if (signals.WaitForEnd(delay, drained)) hurry();

  std::thread drain([&, waiter = pthread_self()] {
    daemon->Shutdown();
    drained = true;
    pthread_kill(waiter, SIGUSR2);
  });
  while (signals.WaitForEnd(absl::InfiniteDuration(), drained)) hurry();
  drain.join();
  LogInfo("drained");  // while the daemon's log queue is there: standard error may block
  const LeaveBehind leave_behind;
  daemon.reset();
  return absl::OkStatus();
}

}  // namespace hachi::server
