#include "server/daemon_signals.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdlib>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "tests/support/fake_model.h"

namespace hachi::server {
namespace {

Daemon::Options OptionsOf(ModelRegistry::Loader loader) {
  Daemon::Options options;
  options.config.grpc_address = options.config.metrics_address = "127.0.0.1:0";
  options.config.workers = 1;
  ModelConfig model;
  model.name = "m";
  model.versions.push_back({1, "model.onnx", ""});
  options.config.models.push_back(std::move(model));
  options.loader = std::move(loader);
  options.new_context = [](Team) { return std::make_unique<FakeRunContext>(); };
  return options;
}

absl::StatusOr<std::unique_ptr<Model>> LoadFake(const LoadOptions&) { return std::make_unique<FakeModel>(); }

absl::StatusOr<std::unique_ptr<Model>> LoadForever(const LoadOptions&) {
  while (true) pause();
}

// Runs a daemon in a process of its own, which gets `signals` once it serves, a tenth of a second apart;
// exits as `hachi serve` does, or with 9 if that takes ten seconds.
void RunAndSend(Daemon::Options options, std::vector<int> signals) {
  alarm(10);
  signal(SIGALRM, [](int) { std::_Exit(9); });
  std::thread sender;
  const absl::Status status = RunUntilSignalled(std::move(options), [&](const Daemon&) {
    sender = std::thread([signals] {
      for (const int signal : signals) {
        std::this_thread::sleep_for(std::chrono::milliseconds(100));
        kill(getpid(), signal);
      }
    });
  });
  sender.join();
  std::exit(status.ok() ? 0 : 2);
}

class SignalsTest : public testing::Test {
 protected:
  SignalsTest() { GTEST_FLAG_SET(death_test_style, "threadsafe"); }
};

TEST_F(SignalsTest, TheFirstThatEndsDrainsAndOthersKillNobody) {
  Daemon::Options options = OptionsOf(LoadFake);
  options.config.drain_delay = absl::ZeroDuration();
  EXPECT_EXIT(RunAndSend(options, {SIGHUP, SIGUSR1, SIGUSR2, SIGPIPE, SIGTERM}), testing::ExitedWithCode(0),
              "Hangup, nothing to do\n(.|\n)*User defined signal 1, nothing to do\n(.|\n)*"
              "User defined signal 2, nothing to do\n(.|\n)*Terminated\n(.|\n)*drained\n");
}

TEST_F(SignalsTest, TheSecondEndsTheDelay) {
  Daemon::Options options = OptionsOf(LoadFake);
  options.config.drain_delay = absl::Hours(24);
  EXPECT_EXIT(RunAndSend(options, {SIGTERM, SIGHUP, SIGTERM}), testing::ExitedWithCode(0),
              "in a hurry\n(.|\n)*drained\n");
}

TEST_F(SignalsTest, TheThirdEndsAtOnce) {
  Daemon::Options options = OptionsOf(LoadForever);
  options.config.drain_delay = absl::Hours(24);
  EXPECT_EXIT(RunAndSend(options, {SIGTERM, SIGINT, SIGTERM}), testing::ExitedWithCode(1),
              "before it has drained\n");
}

TEST_F(SignalsTest, ALoadHoldsNothingUp) {
  Daemon::Options options = OptionsOf(LoadForever);
  options.config.drain_delay = absl::ZeroDuration();
  EXPECT_EXIT(RunAndSend(options, {SIGTERM}), testing::ExitedWithCode(0), "is left behind\n");
}

}  // namespace
}  // namespace hachi::server
