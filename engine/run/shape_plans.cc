#include "engine/run/shape_plans.h"

#include <utility>

namespace hachi {
namespace {

// Of a step beside weights and arena: the library's primitive, its code, our own objects. Guessed.
constexpr int64_t kStepBytes = 32 << 10;

}  // namespace

int64_t BytesOf(const Plan& plan) {
  return static_cast<int64_t>(plan.arena_bytes()) + static_cast<int64_t>(plan.steps().size()) * kStepBytes;
}

std::shared_ptr<const ShapePlans::Sizes> ShapePlans::sizes(Team team) const {
  MutexLock lock(mutex_);
  return Of(team).sizes;
}

std::shared_ptr<const Plan> ShapePlans::PlanFor(int64_t rows) const {
  MutexLock lock(mutex_);
  const auto& plans = Of(Team::kWorker).plans;
  const auto plan = plans.lower_bound(rows);
  return plan == plans.end() ? nullptr : plan->second;
}

void ShapePlans::Add(Team team, int64_t rows, std::shared_ptr<const Plan> plan) {
  MutexLock lock(mutex_);
  OfTeam& own = Of(team);
  own.plans[rows] = std::move(plan);
  std::vector<int64_t> sizes;
  std::vector<std::shared_ptr<const Plan>> plans;
  for (const auto& [size, each] : own.plans) {
    sizes.push_back(size);
    plans.push_back(each);
  }
  Cover cover(sizes);
  own.sizes = std::make_shared<const Sizes>(Sizes{std::move(sizes), std::move(plans), std::move(cover)});
}

void ShapePlans::NoteRunTime(Team team, int64_t rows, absl::Duration time) {
  MutexLock lock(mutex_);
  Of(team).run_times[rows] = time;
}

int64_t ShapePlans::bytes() const {
  MutexLock lock(mutex_);
  int64_t bytes = 0;
  for (const OfTeam& each : of_teams_)
    for (const auto& [rows, plan] : each.plans) bytes += BytesOf(*plan);
  return bytes;
}

int64_t ShapePlans::largest_rows(Team team) const {
  MutexLock lock(mutex_);
  const auto& plans = Of(team).plans;
  return plans.empty() ? 0 : plans.rbegin()->first;
}

std::map<int64_t, absl::Duration> ShapePlans::run_times(Team team) const {
  MutexLock lock(mutex_);
  return Of(team).run_times;
}

}  // namespace hachi
