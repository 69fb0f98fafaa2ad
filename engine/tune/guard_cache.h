#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/engine.h"

namespace hachi {

// What a guard found, and what is to be loaded.
struct GuardVerdict {
  GuardReport report;
  std::string decisions;  // advice of origin kGuard; empty: none

  // A few lines that end with their own hash: a part of them, or damage, is told from the whole.
  std::string ToText() const;
  static absl::StatusOr<GuardVerdict> Parse(std::string_view text);
};

// Verdicts in a folder, a file each, by what they depend on: the model, its table and decisions, the golden
// set, how the model is asked for, the CPU and Hachi's version.
//
// Thread-safe, also against other processes that use the folder: files are replaced in one step, and what is
// no whole verdict of this version counts as none.
class GuardCache {
 public:
  explicit GuardCache(std::filesystem::path folder) : folder_(std::move(folder)) {}

  // `model_sha256`: of the file that `options` name. Errors where files of theirs can't be read.
  static absl::StatusOr<std::string> KeyOf(const LoadOptions& options, std::string_view model_sha256);

  std::optional<GuardVerdict> Find(const std::string& key) const;

  // Makes the folder where it is missing. UNAVAILABLE when the system refuses.
  absl::Status Remember(const std::string& key, const GuardVerdict& verdict) const;

 private:
  const std::filesystem::path folder_;
};

}  // namespace hachi
