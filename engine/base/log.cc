#include "engine/base/log.h"

#include <poll.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <deque>
#include <string>
#include <thread>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "engine/base/mutex.h"
#include "engine/base/text.h"

namespace hachi {
namespace {

constexpr size_t kMaxLines = 4096;
constexpr size_t kMaxLineBytes = 8192;  // a longer message is cut

std::string Now() { return absl::FormatTime("%Y-%m-%dT%H:%M:%E3SZ", absl::Now(), absl::UTCTimeZone()); }

// `text` without what would break a line or a terminal, nor a JSON string if its quotes are escaped too.
std::string Escaped(std::string_view text, bool quotes) {
  std::string escaped;
  for (size_t i = 0; i < text.size();) {
    const size_t length = std::max<size_t>(1, Utf8Length(text.substr(i)));
    const std::string_view character = text.substr(i, length);
    if (quotes && (character == "\"" || character == "\\"))
      escaped.append("\\").append(character);
    else if (IsPrintable(character))
      escaped.append(character);
    else
      for (const char byte : character)
        absl::StrAppendFormat(&escaped, "\\u%04x", static_cast<unsigned char>(byte));
    i += length;
  }
  return escaped;
}

std::string Quoted(std::string_view text) { return absl::StrCat("\"", Escaped(text, /*quotes=*/true), "\""); }

std::string Line(LogFormat format, std::string_view level, std::string_view message,
                 std::initializer_list<LogField> fields) {
  message = message.substr(0, kMaxLineBytes);
  std::string line;
  if (format == LogFormat::kText) {
    line = absl::StrCat(Now(), " ", std::string(level), " ", Escaped(message, /*quotes=*/false));
    for (const LogField& field : fields) {
      const bool plain = field.value.find_first_of(" \"=") == std::string::npos && !field.value.empty();
      absl::StrAppend(&line, " ", std::string(field.key), "=",
                      plain ? Escaped(field.value, /*quotes=*/false) : Quoted(field.value));
    }
  } else {
    line = absl::StrCat("{\"time\":\"", Now(), "\",\"level\":\"", std::string(level),
                        "\",\"message\":", Quoted(message));
    for (const LogField& field : fields)
      absl::StrAppend(&line, ",", Quoted(field.key), ":",
                      field.is_number ? field.value : Quoted(field.value));
    line += "}";
  }
  return line += "\n";
}

}  // namespace

// The queue and its thread, which both hold it.
//
// Thread-safe.
class LogWriter final : public std::enable_shared_from_this<LogWriter> {
 public:
  explicit LogWriter(LogQueue::Options options) : options_(std::move(options)) {}

  void Start() {
    std::thread([self = shared_from_this()] { self->Loop(); }).detach();
  }

  void Add(std::string_view level, std::string_view message, std::initializer_list<LogField> fields) {
    std::string line = Line(options_.format, level, message, fields);
    {
      MutexLock lock(mutex_);
      if (lines_.size() < kMaxLines) {
        if (dropped_ > 0 && lines_.size() <= kMaxLines / 2) {
          lines_.push_back(
              Line(options_.format, "WARNING", absl::StrCat(dropped_, " log lines were dropped"), {}));
          dropped_ = 0;
        }
        lines_.push_back(std::move(line));
        changed_.NotifyAll();
        return;
      }
      ++dropped_;
    }
    if (options_.on_drop) options_.on_drop();
  }

  // False: it took longer.
  bool Flush(absl::Duration at_most) {
    const auto end = std::chrono::steady_clock::now() + absl::ToChronoNanoseconds(at_most);
    MutexLock lock(mutex_);
    while (!lines_.empty() || is_writing_) {
      const auto left = end - std::chrono::steady_clock::now();
      if (left <= left.zero()) return false;
      changed_.WaitFor(mutex_, left);
    }
    return true;
  }

  // The thread ends once all is written.
  void Stop() {
    MutexLock lock(mutex_);
    stopping_ = true;
    changed_.NotifyAll();
  }

  void DropAll() {
    MutexLock lock(mutex_);
    lines_.clear();
  }

 private:
  void Loop() {
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, nullptr);  // SIGPIPE, and those that others wait for
    while (true) {
      std::string line;
      {
        MutexLock lock(mutex_);
        is_writing_ = false;
        changed_.NotifyAll();
        while (lines_.empty() && !stopping_) changed_.Wait(mutex_);
        if (lines_.empty()) return;
        line = std::move(lines_.front());
        lines_.pop_front();
        is_writing_ = true;
      }
      Write(line);
    }
  }

  void Write(std::string_view line) const {
    while (!line.empty()) {
      const ssize_t written = write(options_.descriptor, line.data(), line.size());
      if (written < 0 && errno == EAGAIN) {  // somebody made it non-blocking
        pollfd until = {.fd = options_.descriptor, .events = POLLOUT, .revents = 0};
        poll(&until, 1, /*timeout=*/-1);
      } else if (written < 0 && errno != EINTR) {
        return;  // nobody is there to be told
      }
      if (written > 0) line.remove_prefix(static_cast<size_t>(written));
    }
  }

  const LogQueue::Options options_;
  Mutex mutex_;
  CondVar changed_;
  std::deque<std::string> lines_ ABSL_GUARDED_BY(mutex_);
  int64_t dropped_ ABSL_GUARDED_BY(mutex_) = 0;  // since the log last said so
  bool is_writing_ ABSL_GUARDED_BY(mutex_) = false;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
};

namespace {

// The queue that takes the lines, if there is one. Set before and after the threads that log.
std::atomic<LogWriter*> queue = nullptr;
std::atomic<bool> is_stuck = false;  // it could not write its last lines: nor could anybody else

void Log(std::string_view level, std::string_view message, std::initializer_list<LogField> fields) {
  if (LogWriter* const writer = queue.load(std::memory_order_acquire); writer != nullptr)
    return writer->Add(level, message, fields);
  if (is_stuck) return;
  const std::string line = Line(LogFormat::kText, level, message, fields);
  std::fwrite(line.data(), 1, line.size(), stderr);
}

}  // namespace

void LogInfo(std::string_view message, std::initializer_list<LogField> fields) {
  Log("INFO", message, fields);
}
void LogWarning(std::string_view message, std::initializer_list<LogField> fields) {
  Log("WARNING", message, fields);
}
void LogError(std::string_view message, std::initializer_list<LogField> fields) {
  Log("ERROR", message, fields);
}

LogQueue::LogQueue(Options options) : writer_(std::make_shared<LogWriter>(std::move(options))) {
  is_stuck = false;
  writer_->Start();
  queue.store(writer_.get(), std::memory_order_release);
}

LogQueue::~LogQueue() {
  queue.store(nullptr, std::memory_order_release);
  writer_->Stop();
  is_stuck = !writer_->Flush(absl::Seconds(1));
  writer_->DropAll();
}

void FlushLog(absl::Duration at_most) {
  if (LogWriter* const writer = queue.load(std::memory_order_acquire); writer != nullptr)
    writer->Flush(at_most);
}

}  // namespace hachi
