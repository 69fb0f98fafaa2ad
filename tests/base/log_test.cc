#include "engine/base/log.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdlib>
#include <string>
#include <thread>

namespace hachi {
namespace {

using ::testing::HasSubstr;
using ::testing::MatchesRegex;

constexpr char kTime[] = "^20[0-9][0-9]-[0-9][0-9]-[0-9][0-9]T[0-9][0-9]:[0-9][0-9]:[0-9][0-9]\\.[0-9]{3}Z ";

// What `log` writes to standard error matches, from its beginning.
#define EXPECT_LOGS(log, regex) \
  EXPECT_EXIT(                  \
      {                         \
        log;                    \
        std::exit(0);           \
      },                        \
      testing::ExitedWithCode(0), regex)

TEST(LogTest, LineHasTimeLevelAndMessage) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");  // the thread sanitizer has a thread of its own
  EXPECT_LOGS(LogInfo("model 'm': loaded"), std::string(kTime) + "INFO model 'm': loaded\n$");
  EXPECT_LOGS(LogWarning("slow"), std::string(kTime) + "WARNING slow\n$");
  EXPECT_LOGS(LogError("lost"), std::string(kTime) + "ERROR lost\n$");
}

// A pipe whose one end a LogQueue writes to.
class Pipe {
 public:
  Pipe() { EXPECT_EQ(pipe2(ends_, O_CLOEXEC), 0); }
  ~Pipe() {
    close(ends_[0]);
    close(ends_[1]);
  }
  int to() const { return ends_[1]; }

  // What is in it.
  std::string Read() const {
    fcntl(ends_[0], F_SETFL, O_NONBLOCK);
    std::string all;
    char block[4096];
    for (ssize_t got; (got = read(ends_[0], block, sizeof(block))) > 0;)
      all.append(block, static_cast<size_t>(got));
    return all;
  }

 private:
  int ends_[2];
};

std::string Logged(LogFormat format, const std::function<void()>& log) {
  const Pipe pipe;
  {
    const LogQueue queue({.format = format, .descriptor = pipe.to()});
    log();
  }
  return pipe.Read();
}

TEST(LogQueueTest, WritesTheSameLines) {
  const std::string lines = Logged(LogFormat::kText, [] {
    LogInfo("one");
    LogWarning("two", {{"code", "OK"}, {"id", "a b"}, {"bytes", "12", /*is_number=*/true}});
  });
  EXPECT_THAT(lines, MatchesRegex(".*Z INFO one\n.*Z WARNING two code=OK id=\"a b\" bytes=12\n"));
}

TEST(LogQueueTest, JsonHasALineAnObject) {
  const std::string lines = Logged(LogFormat::kJson, [] {
    LogError("a \"b\"\n\\", {{"id", "c"}, {"bytes", "12", /*is_number=*/true}});
  });
  EXPECT_THAT(lines, MatchesRegex("\\{\"time\":\"20.*Z\",\"level\":\"ERROR\",\"message\":"
                                  "\"a \\\\\"b\\\\\"\\\\u000a\\\\\\\\\",\"id\":\"c\",\"bytes\":12\\}\n"));
}

TEST(LogQueueTest, NothingBreaksALine) {
  const std::string lines = Logged(LogFormat::kText, [] { LogInfo("a\nb\x1b[2J\xff", {{"id", "c\nd"}}); });
  EXPECT_THAT(lines, HasSubstr("INFO a\\u000ab\\u001b[2J\\u00ff id=c\\u000ad\n"));
}

TEST(LogQueueTest, FullPipeBlocksNobodyAndDropsAreCounted) {
  static const Pipe& pipe = *new Pipe;  // outlives the writer, which may hang in it
  std::atomic<int> dropped = 0;
  const auto start = std::chrono::steady_clock::now();
  {
    const LogQueue queue({.descriptor = pipe.to(), .on_drop = [&] { ++dropped; }});
    for (int i = 0; i < 10'000; ++i) LogInfo(std::string(100, 'x'));
    EXPECT_GT(dropped, 1'000);
    const std::string first = pipe.Read();
    EXPECT_THAT(first, HasSubstr("INFO xxx"));
  }
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(10));
}

TEST(LogQueueTest, SaysHowManyWereDroppedOnceThereIsRoom) {
  const Pipe pipe;
  const LogQueue queue({.descriptor = pipe.to()});
  for (int i = 0; i < 10'000; ++i) LogInfo(std::string(100, 'x'));
  std::string all;
  while (all.find("log lines were dropped") == std::string::npos) {
    all += pipe.Read();
    LogInfo("still here");
    std::this_thread::yield();
  }
  EXPECT_THAT(all, HasSubstr("WARNING "));
  std::atomic<bool> done = false;
  std::thread drain([&] {
    while (!done) pipe.Read();
  });
  FlushLog(absl::Seconds(10));
  done = true;
  drain.join();
}

}  // namespace
}  // namespace hachi
