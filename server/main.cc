#include "engine/cpu/team.h"
#include "server/commands/commands.h"

int main(int argc, char** argv) {
  hachi::LimitSpins(argv);
  using namespace hachi::server;
  const Command commands[] = {kServeCommand, kCalibrateCommand, kTuneCommand,  kInspectCommand,
                              kBenchCommand, kLoadCommand,      kInferCommand, kReportCommand};
  return RunCommandLine(argc, argv, commands);
}
