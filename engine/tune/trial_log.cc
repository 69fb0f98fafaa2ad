#include "engine/tune/trial_log.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "engine/base/file.h"
#include "engine/base/status_macros.h"

namespace hachi {
namespace {

constexpr char kFormat[] = "hachi_trials 2 ";

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
  char kind[16];
  double number = 0;
  Evaluator::Measured measured;
  long long bytes = 0;
  if (std::sscanf(line.c_str(), "trial %lf %lf %lf %lf %lld %n", &measured.score.value, &measured.score.drop,
                  &measured.score.noise, &measured.throughput_per_s, &bytes, &at) == 5 &&
      at > 0) {
    measured.bytes = bytes;
    trials_[line.substr(static_cast<size_t>(at))] = measured;
  } else if (std::sscanf(line.c_str(), "%15s %lf %n", kind, &number, &at) == 2 && at > 0) {
    numbers_[{kind, line.substr(static_cast<size_t>(at))}] = number;
  }
}

std::optional<Evaluator::Measured> TrialLog::FindTrial(const std::string& key) const {
  const auto found = trials_.find(key);
  return found == trials_.end() ? std::nullopt : std::optional(found->second);
}

std::optional<double> TrialLog::FindNumber(const std::string& kind, const std::string& key) const {
  const auto found = numbers_.find({kind, key});
  return found == numbers_.end() ? std::nullopt : std::optional(found->second);
}

absl::Status TrialLog::AddTrial(const std::string& key, const Evaluator::Measured& measured) {
  trials_[key] = measured;
  return Append(absl::StrFormat("trial %.17g %.17g %.17g %.17g %d %s\n", measured.score.value,
                                measured.score.drop, measured.score.noise, measured.throughput_per_s,
                                measured.bytes, key));
}

absl::Status TrialLog::AddNumber(const std::string& kind, const std::string& key, double number) {
  numbers_[{kind, key}] = number;
  return Append(absl::StrFormat("%s %.17g %s\n", kind, number, key));
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
