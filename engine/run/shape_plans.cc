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

std::shared_ptr<const ShapePlans::Sizes> ShapePlans::sizes() const {
  MutexLock lock(mutex_);
  return sizes_;
}

std::shared_ptr<const Plan> ShapePlans::PlanFor(int64_t rows) const {
  MutexLock lock(mutex_);
  const auto plan = plans_.lower_bound(rows);
  return plan == plans_.end() ? nullptr : plan->second;
}

void ShapePlans::Add(int64_t rows, std::shared_ptr<const Plan> plan, absl::Duration run_time) {
  MutexLock lock(mutex_);
  plans_[rows] = std::move(plan);
  run_times_[rows] = run_time;
  std::vector<int64_t> sizes;
  std::vector<std::shared_ptr<const Plan>> plans;
  for (const auto& [size, each] : plans_) {
    sizes.push_back(size);
    plans.push_back(each);
  }
  Cover cover(sizes);
  sizes_ = std::make_shared<const Sizes>(Sizes{std::move(sizes), std::move(plans), std::move(cover)});
}

int64_t ShapePlans::bytes() const {
  MutexLock lock(mutex_);
  int64_t bytes = 0;
  for (const auto& [rows, plan] : plans_) bytes += BytesOf(*plan);
  return bytes;
}

int64_t ShapePlans::largest_rows() const {
  MutexLock lock(mutex_);
  return plans_.empty() ? 0 : plans_.rbegin()->first;
}

std::map<int64_t, absl::Duration> ShapePlans::run_times() const {
  MutexLock lock(mutex_);
  return run_times_;
}

}  // namespace hachi
