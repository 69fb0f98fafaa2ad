#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <thread>

#include "absl/status/status.h"
#include "engine/base/mutex.h"
#include "server/models/model_version.h"

namespace hachi::server {

// A thread that makes the plans that requests with free shapes wait for, in the order in which they are asked
// for.
//
// Owned by Daemon; outlives whoever asks.
//
// Thread-safe.
class PlanMaker {
 public:
  // Told how each order ended, on the maker's thread.
  using Done = std::function<void(const std::shared_ptr<const PlanSet>& plans, const absl::Status& status)>;

  explicit PlanMaker(Done done);

  // Makes what is under way and ends the rest: UNAVAILABLE.
  ~PlanMaker();

  // Never blocks.
  void Make(ModelHandle model, std::shared_ptr<const PlanSet> plans, int64_t rows);

 private:
  struct Order {
    ModelHandle model;
    std::shared_ptr<const PlanSet> plans;
    int64_t rows;
  };

  void Loop();

  const Done done_;
  Mutex mutex_;
  CondVar changed_;
  std::deque<Order> orders_ ABSL_GUARDED_BY(mutex_);
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

}  // namespace hachi::server
