#pragma once

#include <memory>
#include <utility>

#include "engine/ops/op.h"
#include "engine/ops/step.h"

namespace hachi {

// A step that only calls a function, void(const StepBuffers&).
template <typename Fn>
class FunctionStep final : public KernelStep {
 public:
  explicit FunctionStep(Fn run, StepInfo info = {}) : KernelStep(std::move(info)), run_(std::move(run)) {}

 protected:
  absl::Status Run(const StepBuffers& buffers) const override {
    run_(buffers);
    return absl::OkStatus();
  }

 private:
  const Fn run_;
};

// Makes the step of `run`, which is thread-safe and does not allocate.
template <typename Fn>
StepMaker MakeStep(Fn run, StepInfo info = {}) {
  return [run = std::move(run), info = std::move(info)]() -> absl::StatusOr<std::unique_ptr<Step>> {
    return std::make_unique<FunctionStep<Fn>>(run, info);
  };
}

}  // namespace hachi
