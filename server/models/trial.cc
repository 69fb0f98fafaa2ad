#include "server/models/trial.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <system_error>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "engine/base/clock.h"
#include "engine/base/file.h"
#include "engine/base/log.h"
#include "engine/base/precision.h"
#include "engine/base/status_macros.h"

namespace hachi::server {
namespace {

namespace fs = std::filesystem;

constexpr absl::Duration kLookEvery = absl::Milliseconds(10);

// A folder with more is no model's; its files are tried each time.
constexpr size_t kMostFiles = 10'000;

// The most memory that a process had; 0 once it has ended.
int64_t PeakBytesOf(pid_t process) {
  std::ifstream status(absl::StrCat("/proc/", process, "/status"));
  for (std::string word; status >> word;)
    if (word == "VmHWM:") {
      int64_t kib = 0;
      status >> kib;
      return kib * 1024;
    }
  return 0;
}

// What a process leaves behind when it outlives this one, and when it crashes.
void LimitWhatIsLeft(pid_t child, absl::Duration time) {
  const auto processors = static_cast<rlim_t>(std::max(1L, sysconf(_SC_NPROCESSORS_ONLN)));
  const rlim_t seconds = (static_cast<rlim_t>(absl::ToInt64Seconds(time)) + 1) * processors;
  const rlimit cpu = {.rlim_cur = seconds, .rlim_max = seconds}, core = {.rlim_cur = 0, .rlim_max = 0};
  prlimit(child, RLIMIT_CPU, &cpu, nullptr);
  prlimit(child, RLIMIT_CORE, &core, nullptr);
}

// Starts a program with nothing of this process but its environment.
absl::StatusOr<pid_t> Spawn(const std::vector<std::string>& command) {
  posix_spawn_file_actions_t files;
  posix_spawn_file_actions_init(&files);
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  const absl::Cleanup destroy = [&] {
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&files);
  };
  posix_spawn_file_actions_addopen(&files, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  for (const int output : {STDOUT_FILENO, STDERR_FILENO})
    posix_spawn_file_actions_addopen(&files, output, "/dev/null", O_WRONLY, 0);
  posix_spawn_file_actions_addclosefrom_np(&files, STDERR_FILENO + 1);
  // The server's threads wait for signals which are to end this process.
  sigset_t none, all;
  sigemptyset(&none);
  sigfillset(&all);
  posix_spawnattr_setsigmask(&attributes, &none);
  posix_spawnattr_setsigdefault(&attributes, &all);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);

  std::vector<char*> arguments;
  for (const std::string& argument : command) arguments.push_back(const_cast<char*>(argument.c_str()));
  arguments.push_back(nullptr);
  pid_t child = 0;
  if (const int error =
          posix_spawn(&child, command[0].c_str(), &files, &attributes, arguments.data(), environ);
      error != 0)
    return absl::UnavailableError(absl::StrCat("does not start: ", std::strerror(error),
                                               ", expected it to (server.trial.enabled: false spares it)"));
  return child;
}

}  // namespace

absl::Status Trial::Run(const ModelConfig& config, const VersionFiles& files) {
  const fs::path mark = MarkOf(config, files);
  if (std::error_code error; !mark.empty() && fs::exists(mark, error)) return absl::OkStatus();
  std::vector<std::string> command = options_.command;
  command.push_back(absl::StrCat(config.name, "/", files.version));
  const absl::StatusOr<int> exit_code = RunToItsEnd(command);
  RETURN_IF_ERROR(WithContext(exit_code.status(), "first load, in a process of its own"));
  if (*exit_code == 0 && !mark.empty()) Remember(mark);
  return absl::OkStatus();
}

absl::StatusOr<int> Trial::RunToItsEnd(const std::vector<std::string>& command) const {
  ASSIGN_OR_RETURN(const pid_t child, Spawn(command));
  LimitWhatIsLeft(child, options_.time);
  const absl::Time until = Clock::Real().Now() + options_.time;
  int outcome = 0;
  pid_t ended = 0;
  while ((ended = waitpid(child, &outcome, WNOHANG)) == 0) {
    if (absl::Status within = CheckLimits(child, until); !within.ok()) {
      kill(child, SIGKILL);
      waitpid(child, &outcome, 0);
      return within;
    }
    absl::SleepFor(kLookEvery);
  }
  if (ended < 0) return absl::InternalError(absl::StrCat("its end is not known: ", std::strerror(errno)));
  if (WIFSIGNALED(outcome))
    return absl::InternalError(absl::StrCat("ended by signal ", WTERMSIG(outcome), " (",
                                            strsignal(WTERMSIG(outcome)), "), expected an end of its own"));
  return WEXITSTATUS(outcome);
}

void Trial::Remember(const fs::path& mark) const {
  std::error_code error;
  fs::create_directories(options_.cache, error);
  if (const absl::Status written = WriteFile(mark, ""); !written.ok())
    LogWarning(WithContext(written, "server.trial.cache").ToString());
}

absl::Status Trial::CheckLimits(pid_t child, absl::Time until) const {
  if (stopped_) return absl::CancelledError("the server ends");
  if (Clock::Real().Now() >= until)
    return absl::ResourceExhaustedError(absl::StrCat("took longer than ", absl::FormatDuration(options_.time),
                                                     ", expected at most that (server.trial.time)"));
  if (const int64_t peak = PeakBytesOf(child); peak > options_.memory_bytes)
    return absl::ResourceExhaustedError(absl::StrCat("took ", peak, " bytes, expected at most ",
                                                     options_.memory_bytes, " (server.trial.memory)"));
  return absl::OkStatus();
}

fs::path Trial::MarkOf(const ModelConfig& config, const VersionFiles& files) const {
  if (options_.cache.empty()) return {};
  auto all = FilesBeneath(files.model.parent_path(), kMostFiles);
  if (!all.ok()) return {};
  if (const fs::path yaml = config.dir / "model.yaml"; std::ranges::count(*all, yaml) == 0)
    if (std::error_code error; fs::is_regular_file(yaml, error)) all->push_back(yaml);
  std::string head = absl::StrCat(options_.circumstances, "\n", std::string(NameOf(config.precision)), "\n");
  for (const fs::path& file : *all) {
    std::error_code error;
    absl::StrAppend(&head, fs::file_size(file, error), " ", file.lexically_relative(config.dir).string(),
                    "\n");
  }
  const auto hash = Sha256Of(head, *all);
  return hash.ok() ? options_.cache / *hash : fs::path();
}

}  // namespace hachi::server
