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
// for; then those for the wide team, on its own thread.
//
// Owned by Daemon; outlives whoever asks.
//
// Thread-safe.
class PlanMaker {
 public:
  // Told how each order ended, on the maker's thread.
  using Done = std::function<void(const std::shared_ptr<const PlanSet>& plans, const absl::Status& status)>;

  // Has the wide team's thread do something when it has time.
  using OnWideTeam = std::function<void(std::function<void()>)>;

  // Without `on_wide_team` there is no such team.
  PlanMaker(Done done, OnWideTeam on_wide_team);

  // Makes what is under way and ends the rest: UNAVAILABLE.
  ~PlanMaker();

  // Never blocks.
  void Make(ModelHandle model, std::shared_ptr<const PlanSet> plans, int64_t rows);

  // Has plans for the wide team made of a model without free shapes; others get theirs with Make. Never
  // blocks.
  void MakeWide(ModelHandle model);

 private:
  struct Order {
    ModelHandle model;
    std::shared_ptr<const PlanSet> plans;
    int64_t rows;
  };

  void Loop();
  static absl::Status MakePlans(const Order& order, Team team);
  // From batches of `rows` on, twice as many each time: the team's thread looks after requests in between.
  void MakeWide(Order order, int64_t rows = 1);

  const Done done_;
  const OnWideTeam on_wide_team_;
  Mutex mutex_;
  CondVar changed_;
  std::deque<Order> orders_ ABSL_GUARDED_BY(mutex_);
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

}  // namespace hachi::server
