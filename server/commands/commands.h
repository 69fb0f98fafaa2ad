#pragma once

#include "server/commands/command_line.h"

namespace hachi::server {

extern const Command kCalibrateCommand;
extern const Command kInferCommand;
extern const Command kLoadCommand;

}  // namespace hachi::server
