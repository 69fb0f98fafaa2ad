#pragma once

#include <functional>
#include <span>

#include "absl/status/status.h"

namespace CLI {
class App;
}

namespace hachi::server {

// A subcommand. `add` gives it its options and returns what runs it once they are parsed.
struct Command {
  const char* name;
  const char* description;
  std::function<absl::Status()> (*add)(CLI::App& app);
};

// The program: parses the command line and runs the chosen one of `commands`. Returns the exit code: 0, 1
// when the command failed, 2 when the command line is wrong. Errors go to standard error as "hachi: ...".
int RunCommandLine(int argc, const char* const* argv, std::span<const Command> commands);

}  // namespace hachi::server
