#include "server/models/plan_maker.h"

#include <utility>

#include "absl/time/clock.h"

namespace hachi::server {

PlanMaker::PlanMaker(Done done) : done_(std::move(done)), thread_([this] { Loop(); }) {}

PlanMaker::~PlanMaker() {
  {
    MutexLock lock(mutex_);
    stopping_ = true;
    changed_.NotifyAll();
  }
  thread_.join();
}

void PlanMaker::Make(ModelHandle model, std::shared_ptr<const PlanSet> plans, int64_t rows) {
  MutexLock lock(mutex_);
  orders_.push_back({std::move(model), std::move(plans), rows});
  changed_.NotifyAll();
}

void PlanMaker::Loop() {
  while (true) {
    Order order;
    bool stopping;
    {
      MutexLock lock(mutex_);
      while (orders_.empty() && !stopping_) changed_.Wait(mutex_);
      if (orders_.empty()) return;
      order = std::move(orders_.front());
      orders_.pop_front();
      stopping = stopping_;
    }
    absl::Status status =
        absl::UnavailableError("server: shutting down, expected another replica to take it");
    if (!stopping) {
      const absl::Time start = absl::Now();
      status = order.model->model().MakePlans(*order.plans, order.rows);
      ModelMetrics& metrics = order.model->metrics();
      const Model::PlanCacheStats stats = order.model->model().plan_cache_stats();
      Observe(metrics.plan_duration_seconds, absl::Now() - start);
      metrics.plan_cache_bytes.Set(static_cast<double>(stats.bytes));
      metrics.plan_cache_evictions.Set(static_cast<double>(stats.evictions));
    }
    done_(order.plans, status);
  }
}

}  // namespace hachi::server
