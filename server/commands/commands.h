#pragma once

#include "server/commands/command_line.h"

namespace hachi::server {

extern const Command kBenchCommand;
extern const Command kCalibrateCommand;
extern const Command kInferCommand;
extern const Command kInspectCommand;
extern const Command kLoadCommand;
extern const Command kReportCommand;
extern const Command kServeCommand;
extern const Command kTuneCommand;

}  // namespace hachi::server
