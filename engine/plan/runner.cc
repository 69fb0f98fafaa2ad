#include "engine/plan/runner.h"

#include <algorithm>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "engine/base/status_macros.h"

namespace hachi {

BoundPlan::BoundPlan(const Plan& plan, std::byte* arena) : plan_(&plan), arena_(arena) {
  for (const PlannedStep& step : plan_->steps()) {
    StepBuffers buffers;
    for (const Place& input : step.inputs) buffers.inputs.push_back(input.name.empty() ? nullptr : At(input));
    for (const Place& output : step.outputs) buffers.outputs.push_back(arena_ + output.offset);
    buffers.scratch = arena_ + plan_->scratch_offset_;
    states_.push_back(step.step->Bind(std::move(buffers)));
  }
}

absl::Status BoundPlan::Run(Stream& stream, const std::function<void(size_t)>& after) {
  for (size_t i = 0; i < states_.size(); ++i) {
    const PlannedStep& step = plan_->steps()[i];
    if (step.copied_input >= 0) {
      const Place& input = step.inputs[static_cast<size_t>(step.copied_input)];
      std::memcpy(arena_ + step.outputs[0].offset, At(input), static_cast<size_t>(input.spec.bytes()));
    }
    if (!step.step->info().view)
      if (absl::Status status = step.step->Run(*states_[i], stream); !status.ok())
        return absl::InternalError(absl::StrCat("step '", step.name, "': ", status.message()));
    if (after) after(i);
  }
  return absl::OkStatus();
}

BoundPlan& PlanRunner::Bind(const std::shared_ptr<const Plan>& plan) {
  if (const auto found = bound_.find(plan); found != bound_.end()) return *found->second;
  std::erase_if(bound_, [](const auto& entry) { return entry.first.expired(); });
  // Never none: steps are given addresses in it, of empty tensors too.
  if (const size_t bytes = std::max<size_t>(plan->arena_bytes(), 1); arena_.size() < bytes) {
    bound_.clear();
    arena_ = AlignedBuffer(bytes);
  }
  return *bound_.emplace(plan, std::make_unique<BoundPlan>(*plan, arena_.data())).first->second;
}

}  // namespace hachi
