#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/cpu/isa.h"
#include "engine/graph/graph.h"
#include "engine/ops/op.h"
#include "engine/product/weight_cache.h"
#include "engine/tensor/tensor_spec.h"

namespace hachi {

// Where a tensor lies during a run: in the arena, or in a constant of the model.
struct Place {
  std::string name;  // the value's; of a graph output what clients call it
  TensorSpec spec;
  size_t offset = 0;                       // in the arena
  std::shared_ptr<const Tensor> constant;  // null: it lies in the arena
};

// One node of the graph, prepared.
struct PlannedStep {
  std::string name, op;
  std::string what;       // the node with its post-ops: "Conv(x, w, b) post clip(0,6)"
  std::string precision;  // "int8": of bytes that stand for reals; else the output's type, "f32"
  std::unique_ptr<const Step> step;
  std::vector<Place> inputs;  // those that the step reads, as the node's; others have an empty name
  std::vector<Place> outputs;
  int copied_input = -1;  // the residual that is copied to output 0 before the run, having readers after it
  int64_t macs = 0;       // multiply-adds
  int64_t bytes = 0;      // read and written, weights included
  std::vector<OfferAnswer> answers;  // of every offer, with PlanOptions::explain
};

// What a plan is made for besides shapes and the calling thread's team.
struct PlanOptions {
  Isa isa = DetectIsa();                                    // the highest rung for kernels of ours
  std::map<std::string, std::string, std::less<>> kernels;  // by node: the offer to use, "ref" for none
  bool explain = false;                                     // PlannedStep::answers are asked for
};

// A graph made concrete for one set of shapes and one team size: steps in order, and one arena's layout.
//
// Immutable and thread-safe. Independent of the graph it came from; shares packed weights through the cache.
class Plan {
 public:
  // The calling thread's team must have the size that the plan will run with. UNIMPLEMENTED, with what its
  // kernels answered, when none takes a node with multiply-adds.
  static absl::StatusOr<std::shared_ptr<const Plan>> Create(const Graph& graph, const Bindings& bindings,
                                                            WeightCache& weights,
                                                            const PlanOptions& options = {});

  const std::vector<PlannedStep>& steps() const { return steps_; }
  const std::vector<Place>& inputs() const { return inputs_; }    // as the graph's
  const std::vector<Place>& outputs() const { return outputs_; }  // as the graph's
  size_t arena_bytes() const { return arena_bytes_; }

  // Sums over steps.
  int64_t macs() const;
  int64_t int8_macs() const;  // in INT8 steps
  int64_t vnni_macs() const;  // in INT8 steps on a kernel that has VNNI or tiles

  // A header line, then a line a step:
  //   conv1: Conv(x, w) post clip(0,inf) -> y | int8 brgconv:avx512_core_vnni ... in x:u8[...] ... out
  //   y:u8[...]
  std::string ToText() const;

 private:
  Plan() = default;

  std::vector<PlannedStep> steps_;
  std::vector<Place> inputs_, outputs_;
  size_t arena_bytes_ = 0;
  size_t scratch_offset_ = 0;  // in the arena
  int threads_ = 1;
  Isa isa_ = Isa::kAvx2;

  friend class BoundPlan;
  friend class PlanBuilder;
};

}  // namespace hachi
