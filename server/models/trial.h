#pragma once

#include <sys/types.h>

#include <atomic>
#include <cstdint>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "config/model_config.h"

namespace hachi::server {

// Loads a model's files for the first time in a process of its own, under limits: what they do to a library
// there costs that model its readiness, and nobody else anything.
//
// Files whose trial went well are remembered in a folder, by their hash, and not tried again.
//
// Thread-safe; one Run at a time.
class Trial {
 public:
  struct Options {
    // Loads the version of which the name is appended, "digits/1", and exits 0; 1 when the load fails in an
    // orderly way.
    std::vector<std::string> command;
    int64_t memory_bytes;         // of that process, looked at every few milliseconds
    absl::Duration time;          // from its start to its end
    std::filesystem::path cache;  // what it remembers, made when missing; empty: nothing
    std::string
        circumstances;  // what the outcome depends on beside the files: the program's version, the CPU
  };

  explicit Trial(Options options) : options_(std::move(options)) {}

  // OK when these files may be loaded here: they are remembered, or their load has ended there, be it that it
  // failed in an orderly way, as it will here. INTERNAL when the process was ended by a signal,
  // RESOURCE_EXHAUSTED when it went beyond a limit, CANCELLED after Stop, UNAVAILABLE when it did not start.
  absl::Status Run(const ModelConfig& config, const VersionFiles& files);

  // Ends a trial that goes on; none begins any more.
  void Stop() { stopped_ = true; }

 private:
  // Where these files are remembered; empty: nowhere.
  std::filesystem::path MarkOf(const ModelConfig& config, const VersionFiles& files) const;

  void Remember(const std::filesystem::path& mark) const;

  // The exit code of a program that ends by itself, within the limits.
  absl::StatusOr<int> RunToItsEnd(const std::vector<std::string>& command) const;
  absl::Status CheckLimits(pid_t child, absl::Time until) const;

  const Options options_;
  std::atomic<bool> stopped_ = false;  // a flag: nothing else is published with it
};

}  // namespace hachi::server
