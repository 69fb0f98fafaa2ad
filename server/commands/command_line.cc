#include "server/commands/command_line.h"

#include <CLI/CLI.hpp>
#include <exception>
#include <iostream>
#include <string>
#include <vector>

namespace hachi::server {
namespace {

constexpr int kFailed = 1;
constexpr int kMisused = 2;

int Fail(int code, absl::string_view message) {
  std::cerr << "hachi: " << message << std::endl;
  return code;
}

}  // namespace

int RunCommandLine(int argc, const char* const* argv, std::span<const Command> commands) {
  try {
    CLI::App app("Hachi serves ONNX models on CPUs, in INT8 where a calibration table allows it.", "hachi");
    app.set_version_flag("--version", std::string("hachi ") + HACHI_VERSION);
    app.require_subcommand(1, 1);
    std::function<absl::Status()> run;
    for (const Command& command : commands) {
      CLI::App& subcommand = *app.add_subcommand(command.name, command.description);
      subcommand.callback([&run, run_it = command.add(subcommand)] { run = run_it; });
    }
    try {
      app.parse(argc, argv);
    } catch (const CLI::ParseError& e) {
      // Help and version are "errors" of code 0.
      if (e.get_exit_code() == 0) return app.exit(e);
      return Fail(kMisused, e.what());
    }
    const absl::Status status = run();
    return status.ok() ? 0 : Fail(kFailed, status.message());
  } catch (const std::exception& e) {
    return Fail(kFailed, e.what());
  }
}

}  // namespace hachi::server
