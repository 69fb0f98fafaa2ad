#pragma once

#include <signal.h>

#include <array>

namespace hachi::server {

// While one lives, SIGINT and SIGTERM ask for an end; a second one kills. One at a time.
class Interruption {
 public:
  Interruption();
  ~Interruption();
  Interruption(const Interruption&) = delete;
  Interruption& operator=(const Interruption&) = delete;

  // Whether one was asked for since the last one was made.
  static bool came();

 private:
  static constexpr std::array kSignals = {SIGINT, SIGTERM};
  std::array<struct sigaction, kSignals.size()> before_;
};

}  // namespace hachi::server
