#include "engine/base/log.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <string>

namespace hachi {
namespace {

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

}  // namespace
}  // namespace hachi
