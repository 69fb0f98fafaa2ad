#pragma once

#include <cstddef>
#include <functional>
#include <map>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "engine/onednn/primitive.h"
#include "engine/plan/plan.h"
#include "engine/tensor/tensor.h"

namespace hachi {

// A plan whose addresses are resolved in one arena.
//
// Confined to one thread at a time. Plan and arena outlive its runs.
class BoundPlan {
 public:
  // REQUIRES: the arena holds plan.arena_bytes().
  BoundPlan(const Plan& plan, std::byte* arena);

  // Where the plan's place number `i` among its inputs lies, for writing.
  std::byte* Input(size_t i) const { return arena_ + plan_->inputs()[i].offset; }

  // Where a place of the plan lies.
  const std::byte* At(const Place& place) const {
    return place.constant != nullptr ? place.constant->bytes().data() : arena_ + place.offset;
  }

  // Runs every step; `after` is called behind each with its index, unless it is empty. Does not allocate.
  // INTERNAL naming the step when a kernel fails.
  absl::Status Run(Stream& stream, const std::function<void(size_t)>& after = nullptr);

 private:
  const Plan* plan_;
  std::byte* arena_;
  std::vector<std::unique_ptr<StepState>> states_;
};

// What one thread needs to run plans: a stream, an arena that is as large as the largest plan, and the plans
// bound to it so far. Plans of all models share the arena.
//
// Confined to one thread at a time.
class PlanRunner {
 public:
  // The plan, bound. Allocates when the plan is new to the runner, or since another one needed a larger
  // arena; what was bound before is invalid then.
  BoundPlan& Bind(const std::shared_ptr<const Plan>& plan);

  Stream& stream() { return stream_; }

 private:
  Stream stream_;
  AlignedBuffer arena_;
  // Weak: a plan goes with its model.
  std::map<std::weak_ptr<const Plan>, std::unique_ptr<BoundPlan>, std::owner_less<>> bound_;
};

}  // namespace hachi
