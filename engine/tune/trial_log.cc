#include "engine/tune/trial_log.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "engine/base/file.h"
#include "engine/base/status_macros.h"

namespace hachi {
namespace {

constexpr char kFormat[] = "hachi_trials 1 ";

}  // namespace

absl::StatusOr<TrialLog> TrialLog::Open(std::filesystem::path file, const std::string& subject) {
  TrialLog log(std::move(file));
  const std::string head = absl::StrCat(kFormat, subject, "\n");
  absl::StatusOr<std::string> text = ReadFile(log.file_);
  if (absl::IsNotFound(text.status())) text = "";
  RETURN_IF_ERROR(text.status());
  std::string whole = head;
  if (text->starts_with(head)) {
    size_t begin = head.size();
    for (size_t end; (end = text->find('\n', begin)) != std::string::npos; begin = end + 1)
      log.Take(text->substr(begin, end - begin));
    whole = text->substr(0, begin);
  }
  if (whole != *text) RETURN_IF_ERROR(WriteFile(log.file_, whole));
  return log;
}

void TrialLog::Take(const std::string& line) {
  int at = 0;
  double noise = 0;
  Evaluator::Measured measured;
  long long bytes = 0;
  if (std::sscanf(line.c_str(), "noise %lf %n", &noise, &at) == 1 && at > 0) {
    noises_[line.substr(static_cast<size_t>(at))] = noise;
  } else if (std::sscanf(line.c_str(), "trial %lf %lf %lf %lf %lld %n", &measured.score.value,
                         &measured.score.drop, &measured.score.noise, &measured.throughput_per_s, &bytes,
                         &at) == 5 &&
             at > 0) {
    measured.bytes = bytes;
    trials_[line.substr(static_cast<size_t>(at))] = measured;
  }
}

std::optional<Evaluator::Measured> TrialLog::FindTrial(const std::string& key) const {
  const auto found = trials_.find(key);
  return found == trials_.end() ? std::nullopt : std::optional(found->second);
}

std::optional<double> TrialLog::FindNoise(const std::string& key) const {
  const auto found = noises_.find(key);
  return found == noises_.end() ? std::nullopt : std::optional(found->second);
}

absl::Status TrialLog::AddTrial(const std::string& key, const Evaluator::Measured& measured) {
  trials_[key] = measured;
  return Append(absl::StrFormat("trial %.17g %.17g %.17g %.17g %d %s\n", measured.score.value,
                                measured.score.drop, measured.score.noise, measured.throughput_per_s,
                                measured.bytes, key));
}

absl::Status TrialLog::AddNoise(const std::string& key, double noise) {
  noises_[key] = noise;
  return Append(absl::StrFormat("noise %.17g %s\n", noise, key));
}

absl::Status TrialLog::Append(const std::string& line) {
  const auto fail = [&] {
    return absl::UnavailableError(
        absl::StrCat("file '", file_.string(), "': cannot be written: ", std::strerror(errno)));
  };
  const int file = open(file_.c_str(), O_WRONLY | O_APPEND | O_CLOEXEC);
  if (file < 0) return fail();
  const absl::Cleanup close_it = [&] { close(file); };
  if (write(file, line.data(), line.size()) != static_cast<ssize_t>(line.size()) || fdatasync(file) != 0)
    return fail();
  return absl::OkStatus();
}

}  // namespace hachi
