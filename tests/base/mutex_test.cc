#include "engine/base/mutex.h"

#include <dlfcn.h>
#include <gtest/gtest.h>
#include <pthread.h>

#include <atomic>
#include <chrono>
#include <thread>
#include <vector>

namespace {

std::atomic<int> steady_waits = 0;  // with an end on the steady clock

}  // namespace

// Takes the system library's place, counts, and calls it.
extern "C" int pthread_cond_clockwait(pthread_cond_t* condition, pthread_mutex_t* mutex, clockid_t clock,
                                      const timespec* end) {
  steady_waits += clock == CLOCK_MONOTONIC;
  static const auto real =
      reinterpret_cast<decltype(&pthread_cond_clockwait)>(dlsym(RTLD_NEXT, "pthread_cond_clockwait"));
  return real(condition, mutex, clock, end);
}

namespace hachi {
namespace {

TEST(MutexTest, OneThreadAtATimeHoldsIt) {
  Mutex mutex;
  int count = 0;
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      for (int j = 0; j < 1000; ++j) {
        MutexLock lock(mutex);
        ++count;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(count, 4000);
}

TEST(CondVarTest, WaitReturnsHoldingTheMutexOnceNotified) {
  Mutex mutex;
  CondVar changed;
  int turn = 0;
  std::thread other([&] {
    MutexLock lock(mutex);
    while (turn != 1) changed.Wait(mutex);
    turn = 2;
    changed.NotifyOne();
  });
  {
    MutexLock lock(mutex);
    turn = 1;
    changed.NotifyOne();
    while (turn != 2) changed.Wait(mutex);
  }
  other.join();
  EXPECT_EQ(turn, 2);
}

TEST(CondVarTest, NotifyAllWakesEveryWaiter) {
  Mutex mutex;
  CondVar changed;
  bool open = false;
  int passed = 0;
  std::vector<std::thread> threads;
  for (int i = 0; i < 3; ++i) {
    threads.emplace_back([&] {
      MutexLock lock(mutex);
      while (!open) changed.Wait(mutex);
      ++passed;
    });
  }
  {
    MutexLock lock(mutex);
    open = true;
    changed.NotifyAll();
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(passed, 3);
}

TEST(CondVarTest, WaitForEndsWithoutANotification) {
  Mutex mutex;
  CondVar changed;
  MutexLock lock(mutex);
  changed.WaitFor(mutex, std::chrono::milliseconds(1));
  changed.WaitFor(mutex, std::chrono::nanoseconds(0));
  changed.WaitFor(mutex, std::chrono::seconds(-1));
}

#ifndef HACHI_SANITIZE_THREAD
TEST(CondVarTest, WaitIsAsLongWhateverHappensToTheSystemsClock) {
  Mutex mutex;
  CondVar changed;
  const int before = steady_waits;
  MutexLock lock(mutex);
  changed.WaitFor(mutex, std::chrono::milliseconds(1));
  EXPECT_EQ(steady_waits, before + 1);
}
#endif

}  // namespace
}  // namespace hachi
