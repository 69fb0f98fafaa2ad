#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "engine/cpu/kernel_facts.h"
#include "engine/onednn/primitive.h"

namespace hachi {

// Where a step's tensors are. Addresses stay the same from Bind to the state's end.
struct StepBuffers {
  std::vector<const std::byte*> inputs;  // as the node's; null where it is left out or Step::Reads says no
  std::vector<std::byte*> outputs;
  std::byte* scratch = nullptr;  // StepInfo::scratch_bytes, aligned to 64; shared by all steps of a context
};

// What a context keeps for one step between runs: resolved addresses, and library objects made for them.
struct StepState {
  virtual ~StepState() = default;
};

struct StepInfo {
  KernelFacts kernel;
  std::string why_reference;  // what the operator's kernels said of the node; empty: the step is no reference
  size_t scratch_bytes = 0;
  int in_place_input = -1;     // this input must lie where output 0 does: the step updates it
  std::string_view precision;  // that it computes in; empty: that of its tensors
  bool view = false;           // in_place_input is output 0 already: there is nothing to run
};

// One node lowered to a prepared kernel: weights packed, shapes, types and threads fixed.
//
// Immutable and thread-safe; concurrent runs need a state each.
class Step {
 public:
  explicit Step(StepInfo info = {}) : info_(std::move(info)) {}
  virtual ~Step() = default;

  const StepInfo& info() const { return info_; }

  // For what lowers a node: the facts are those of the offer that made the step.
  void set_kernel(KernelFacts kernel) { info_.kernel = std::move(kernel); }

  // Whether Run reads input `i` of the node; weights that were packed at load are not read.
  virtual bool Reads(size_t /*input*/) const { return true; }

  virtual std::unique_ptr<StepState> Bind(StepBuffers buffers) const = 0;

  // REQUIRES: `state` is from this step's Bind. Does not allocate. INTERNAL when the kernel fails.
  virtual absl::Status Run(StepState& state, Stream& stream) const = 0;

 private:
  StepInfo info_;
};

// A step whose state is just its buffers: our own kernels.
class KernelStep : public Step {
 public:
  using Step::Step;

  std::unique_ptr<StepState> Bind(StepBuffers buffers) const final {
    auto state = std::make_unique<State>();
    state->buffers = std::move(buffers);
    return state;
  }
  absl::Status Run(StepState& state, Stream& /*stream*/) const final {
    return Run(static_cast<State&>(state).buffers);
  }

 protected:
  virtual absl::Status Run(const StepBuffers& buffers) const = 0;

 private:
  struct State : StepState {
    StepBuffers buffers;
  };
};

}  // namespace hachi
