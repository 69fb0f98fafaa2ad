#pragma once

#include <optional>
#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/graph/graph.h"
#include "engine/tensor/tensor.h"

namespace hachi {

// How an input of the second stage is handed over.
struct HandedValue {
  size_t output = 0;  // of the first stage
  // Set where a run finds how much there is: it lies in front along this axis, and that output says how much.
  std::optional<size_t> measured_axis;
  size_t count_output = 0;
};

// A graph as two that run one after the other: the second one is known when the first one has run.
struct Stages {
  Graph first;                      // with the graph's inputs
  Graph second;                     // with the graph's outputs
  std::vector<HandedValue> handed;  // of each input of `second`
};

// Cuts a graph in front of what can't be inferred without a run: dimensions that follow from elements which
// are computed, or from how many of them are found (OpDef::measured_axis). Whatever doesn't follow from those
// is in the first stage. The second one may have to be cut again, once its inputs are known. Else the error
// of the node that can't be inferred at all. REQUIRES: inputs have numbers for dimensions; those whose values
// decide are constants.
absl::StatusOr<Stages> SplitStages(const Graph& graph);

// What is handed over of the first stage's outputs, cut to what there is of it.
Tensor TakeHanded(const HandedValue& handed, std::span<const Tensor> outputs);

}  // namespace hachi
