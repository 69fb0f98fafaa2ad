#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/tune/evaluator.h"

namespace hachi {

// What trials measured, in a file that grows by a line each, so that a search that was interrupted goes on
// where it was: it asks for the same again, and is told instead of measuring.
//
// Confined to one thread.
class TrialLog {
 public:
  // Reads what is there of the same `subject`, a line that says what is measured, and how; a file of another
  // is begun anew. A last line without its end was cut short and is forgotten. UNAVAILABLE when the system
  // refuses.
  static absl::StatusOr<TrialLog> Open(std::filesystem::path file, const std::string& subject);

  // By a candidate's key.
  std::optional<Evaluator::Measured> FindTrial(const std::string& key) const;

  // Other measurements, of candidates or layers; `kind` is a word.
  std::optional<double> FindNumber(const std::string& kind, const std::string& key) const;

  // On disk when they return, so that a killed process loses nothing.
  absl::Status AddTrial(const std::string& key, const Evaluator::Measured& measured);
  absl::Status AddNumber(const std::string& kind, const std::string& key, double number);

 private:
  explicit TrialLog(std::filesystem::path file) : file_(std::move(file)) {}

  void Take(const std::string& line);
  absl::Status Append(const std::string& line);

  std::filesystem::path file_;
  std::map<std::string, Evaluator::Measured, std::less<>> trials_;
  std::map<std::pair<std::string, std::string>, double> numbers_;  // by kind and key
};

}  // namespace hachi
