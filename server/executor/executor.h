#pragma once

#include <functional>
#include <memory>
#include <thread>
#include <vector>

#include "engine/base/clock.h"
#include "engine/engine.h"
#include "server/batching/batch_scheduler.h"

namespace hachi::server {

// Worker threads: each takes a batch, runs it with its own RunContext, and completes each call.
//
// Owned by Daemon; the scheduler outlives it. Runs from construction until the scheduler has stopped and is
// drained.
//
// Thread-safe.
class Executor {
 public:
  struct Options {
    int workers = 1;             // 0: none; a request runs on the thread that pushes it
    int threads_per_worker = 1;  // of the OpenMP team that a worker leads, itself included
    int wide_threads = 0;        // of the team of one worker more, number `workers`; 0: there is none
    BatchScheduler* scheduler = nullptr;                           // required
    std::function<std::unique_ptr<RunContext>(Team)> new_context;  // hachi::NewRunContext; tests have theirs
    std::function<void(int worker)> on_start;  // first on each worker's thread: pins its team
    const Clock* clock = &Clock::Real();
  };

  explicit Executor(const Options& options);

  // Waits for the workers. REQUIRES: the scheduler was stopped.
  ~Executor();

 private:
  std::vector<std::thread> threads_;
};

}  // namespace hachi::server
