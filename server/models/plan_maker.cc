#include "server/models/plan_maker.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "engine/base/log.h"

namespace hachi::server {

PlanMaker::PlanMaker(Done done, OnWideTeam on_wide_team)
    : done_(std::move(done)), on_wide_team_(std::move(on_wide_team)), thread_([this] { Loop(); }) {}

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

absl::Status PlanMaker::MakePlans(const Order& order, Team team) {
  const absl::Time start = absl::Now();
  const absl::Status status = order.model->model().MakePlans(*order.plans, order.rows, team);
  ModelMetrics& metrics = order.model->metrics();
  const Model::PlanCacheStats stats = order.model->model().plan_cache_stats();
  Observe(metrics.plan_duration_seconds, absl::Now() - start);
  metrics.plan_cache_bytes.Set(static_cast<double>(stats.bytes));
  metrics.plan_cache_evictions.Set(static_cast<double>(stats.evictions));
  return status;
}

void PlanMaker::MakeWide(ModelHandle model) {
  if (model->has_free_shapes()) return;
  std::vector<std::vector<int64_t>> shapes;
  for (const TensorSignature& input : model->model().signature().inputs) shapes.push_back(input.dims);
  const auto found = model->model().ShapesOf(shapes, {});
  if (!found.ok()) return;  // what inputs hold decides shapes
  const int64_t rows = model->max_batch_rows();
  MakeWide(Order{std::move(model), (*found)->plans, rows});
}

void PlanMaker::MakeWide(Order order, int64_t rows) {
  if (!on_wide_team_) return;
  on_wide_team_([this, order = std::move(order), rows] {
    const absl::Status status = MakePlans({order.model, order.plans, rows}, Team::kWide);
    if (status.ok() && rows < order.rows)
      MakeWide(order, std::min(2 * rows, order.rows));
    else if (!status.ok())
      LogWarning(absl::StrCat("model '", order.model->name(),
                              "': no plans for all cores together, so that lone requests run on one worker: ",
                              std::string(status.message())));
  });
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
    const absl::Status status =
        stopping ? absl::UnavailableError("server: shutting down, expected another replica to take it")
                 : MakePlans(order, Team::kWorker);
    done_(order.plans, status);
    if (status.ok()) MakeWide(std::move(order));
  }
}

}  // namespace hachi::server
