#include "absl/synchronization/mutex.h"
#include "engine/cpu/team.h"
#include "server/commands/commands.h"

int main(int argc, char** argv) {
  hachi::LimitSpins(argv);
  // The distribution's Abseil looks for cycles at every lock that gRPC takes, behind one lock for all of
  // them.
  absl::SetMutexDeadlockDetectionMode(absl::OnDeadlockCycle::kIgnore);
  using namespace hachi::server;
  const Command commands[] = {kServeCommand, kCalibrateCommand, kTuneCommand,  kInspectCommand,
                              kBenchCommand, kLoadCommand,      kInferCommand, kReportCommand};
  return RunCommandLine(argc, argv, commands);
}
