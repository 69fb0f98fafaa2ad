#pragma once

#include <functional>
#include <initializer_list>
#include <memory>
#include <string>
#include <string_view>

#include "absl/time/time.h"

namespace hachi {

// A part of a message that programs read.
struct LogField {
  std::string_view key;
  std::string value;
  bool is_number = false;
};

// Writes one line, "2026-11-24T08:30:00.123Z INFO message key=value", to standard error; a line break or a
// control character in it is escaped. An error is returned or logged, not both; the layer that stops it logs
// it once.
//
// Thread-safe: lines do not interleave. They block while standard error does, unless there is a LogQueue.
void LogInfo(std::string_view message, std::initializer_list<LogField> fields = {});
void LogWarning(std::string_view message, std::initializer_list<LogField> fields = {});
void LogError(std::string_view message, std::initializer_list<LogField> fields = {});

enum class LogFormat {
  kText,
  kJson,  // {"time":"2026-11-24T08:30:00.123Z","level":"INFO","message":"message","key":"value"}
};

// Waits until a LogQueue, if there is one, has written all that it holds, for so long at most.
void FlushLog(absl::Duration at_most);

class LogWriter;

// While there is one, it takes the lines, and a thread of its own writes them: whoever logs never waits for
// who reads standard error. It holds 4,096 lines at most; those beyond are dropped and counted, and the log
// says how many, once there is room.
//
// One at a time, begun and ended while nobody logs. Thread-safe otherwise.
class LogQueue {
 public:
  struct Options {
    LogFormat format = LogFormat::kText;
    int descriptor = 2;
    std::function<void()> on_drop = {};  // for each line that is dropped; may be empty
  };

  explicit LogQueue(Options options);

  // Waits until all is written, for a second at most: then what is left is lost, and so is what is logged
  // until there is another one.
  ~LogQueue();

 private:
  const std::shared_ptr<LogWriter> writer_;  // its thread may outlive this: nothing ends a write that hangs
};

}  // namespace hachi
