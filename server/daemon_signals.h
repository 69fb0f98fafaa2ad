#pragma once

#include <functional>

#include "absl/status/status.h"
#include "server/daemon.h"

namespace hachi::server {

// Runs a daemon until SIGTERM or SIGINT, then drains it. `on_start` is called once it serves.
//
// A second such signal ends the delay and gives what is in flight two seconds more; a third ends the process
// at once, with exit code 1. What outlives the drain by two seconds (a load, a run whose clients are gone) is
// left where it is, and the process ends with exit code 0. SIGHUP, SIGUSR1 and SIGUSR2 are logged.
//
// Blocks these signals in the calling thread and in all that it starts: call it before there are others.
// An error means that the daemon did not start.
absl::Status RunUntilSignalled(Daemon::Options options, const std::function<void(const Daemon&)>& on_start);

}  // namespace hachi::server
