#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <thread>

#include "absl/time/time.h"
#include "engine/base/mutex.h"
#include "server/metrics/metrics.h"

namespace hachi::server {

// Answers that were given to gRPC and that their clients have not taken yet: their windows are closed.
//
// An answer that waits for `time_limit` is cancelled. So is, while all that wait have more than
// `limit_bytes`, the oldest of the connection that has most. It is seen to four times a second.
//
// Thread-safe. Outlives the calls.
class Answers {
 public:
  struct Options {
    absl::Duration time_limit = absl::Seconds(20);
    int64_t limit_bytes = int64_t{128} << 20;
    AnswerMetrics* metrics = nullptr;  // required
  };
  using Id = uint64_t;

  explicit Answers(const Options& options);
  ~Answers();

  // An answer of so many bytes is given to gRPC for the client, named as gRPC does. `cancel` is called at
  // most once, on a thread of this one's, and may Remove the answer.
  Id Add(const std::string& client, int64_t bytes, std::function<void()> cancel);

  // It was sent, or its call has ended otherwise. `cancel` does not run any more once this has returned,
  // unless it is the caller. Harmless a second time.
  void Remove(Id id);

  // Of all answers that wait for this client.
  int64_t BytesOf(const std::string& client) const;

 private:
  struct Answer {
    std::string client;
    int64_t bytes;
    absl::Time until;
    std::function<void()> cancel;  // empty: was called
  };

  void Loop();
  std::function<void()> WaitForOverdue();
  std::map<Id, Answer>::iterator FindOverdue(absl::Time now) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const Options options_;
  mutable Mutex mutex_;
  CondVar changed_;
  Id next_id_ ABSL_GUARDED_BY(mutex_) = 1;
  std::map<Id, Answer> answers_ ABSL_GUARDED_BY(mutex_);  // so the oldest is first
  std::map<std::string, int64_t> bytes_by_client_ ABSL_GUARDED_BY(mutex_);
  int64_t bytes_ ABSL_GUARDED_BY(mutex_) = 0;
  Id being_cancelled_ ABSL_GUARDED_BY(mutex_) = 0;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

}  // namespace hachi::server
