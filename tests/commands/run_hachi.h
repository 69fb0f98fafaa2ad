#pragma once

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "server/commands/commands.h"

namespace hachi::server {

struct Outcome {
  int exit_code;
  std::string out, error;
};

// The program with some of its commands, in this process.
inline Outcome RunHachi(const std::vector<Command>& commands, const std::vector<std::string>& arguments) {
  std::vector<const char*> argv = {"hachi"};
  for (const std::string& argument : arguments) argv.push_back(argument.c_str());
  testing::internal::CaptureStdout();
  testing::internal::CaptureStderr();
  const int exit_code = RunCommandLine(static_cast<int>(argv.size()), argv.data(), commands);
  return {exit_code, testing::internal::GetCapturedStdout(), testing::internal::GetCapturedStderr()};
}

}  // namespace hachi::server
