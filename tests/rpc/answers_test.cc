#include "server/rpc/answers.h"

#include <gtest/gtest.h>

#include <atomic>
#include <string>
#include <thread>

namespace hachi::server {
namespace {

class AnswersTest : public testing::Test {
 protected:
  // The test's time limit bounds it.
  static void WaitFor(const std::atomic<bool>& flag) {
    while (!flag) std::this_thread::yield();
  }

  Metrics metrics_;
  AnswerMetrics* const of_answers_ = &metrics_.server().answers;
};

TEST_F(AnswersTest, CountUntilTheyAreSent) {
  Answers answers({.metrics = of_answers_});
  const auto first = answers.Add("a", 3, [] { ADD_FAILURE(); });
  const auto second = answers.Add("a", 4, [] { ADD_FAILURE(); });
  answers.Add("b", 5, [] { ADD_FAILURE(); });
  EXPECT_EQ(answers.BytesOf("a"), 7);
  EXPECT_EQ(answers.BytesOf("b"), 5);
  EXPECT_EQ(answers.BytesOf("c"), 0);
  EXPECT_EQ(of_answers_->waiting_bytes.Value(), 12);
  answers.Remove(first);
  answers.Remove(first);
  EXPECT_EQ(answers.BytesOf("a"), 4);
  answers.Remove(second);
  EXPECT_EQ(answers.BytesOf("a"), 0);
}

TEST_F(AnswersTest, AreCancelledOnceTheyHaveWaitedTooLong) {
  Answers answers({.time_limit = absl::Milliseconds(10), .metrics = of_answers_});
  std::atomic<int> cancelled = 0;
  std::atomic<bool> removed = false;
  std::atomic<Answers::Id> id = 0;
  // As gRPC does, the cancelled call ends on the same thread.
  id = answers.Add("a", 3, [&] {
    ++cancelled;
    answers.Remove(id);
    removed = true;
  });
  WaitFor(removed);
  EXPECT_EQ(answers.BytesOf("a"), 0);
  EXPECT_EQ(cancelled, 1);
  EXPECT_EQ(of_answers_->cut_total.Value(), 1);
}

TEST_F(AnswersTest, RemoveWaitsForACancelThatRuns) {
  Answers answers({.time_limit = absl::ZeroDuration(), .metrics = of_answers_});
  std::atomic<bool> begun = false, go_on = false, ended = false, removed = false;
  const auto id = answers.Add("a", 3, [&] {
    begun = true;
    WaitFor(go_on);
    ended = true;
  });
  WaitFor(begun);
  std::thread remove([&] {
    answers.Remove(id);
    EXPECT_TRUE(ended);
    removed = true;
  });
  EXPECT_FALSE(removed);
  go_on = true;
  remove.join();
  EXPECT_EQ(answers.BytesOf("a"), 0);
}

TEST_F(AnswersTest, BeyondTheLimitTheOldestOfTheGreediestIsCancelled) {
  Answers answers({.limit_bytes = 10, .metrics = of_answers_});
  std::atomic<bool> cancelled = false;
  answers.Add("modest", 4, [] { ADD_FAILURE(); });
  std::atomic<Answers::Id> id = 0;
  id = answers.Add("greedy", 5, [&] {
    answers.Remove(id);
    cancelled = true;
  });
  answers.Add("greedy", 5, [] { ADD_FAILURE(); });
  WaitFor(cancelled);
  EXPECT_EQ(answers.BytesOf("greedy"), 5);
  EXPECT_EQ(answers.BytesOf("modest"), 4);
}

}  // namespace
}  // namespace hachi::server
