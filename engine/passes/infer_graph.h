#pragma once

#include <map>
#include <set>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/graph/graph.h"

namespace hachi {

// Runs InferNode over the graph in order. An If gives way to the nodes of the branch that its condition
// takes, where that is a constant or follows from constants and known shapes; UNIMPLEMENTED where it doesn't.
absl::Status InferGraph(Graph& graph);

// A value of which a run finds how much there is.
struct MeasuredValue {
  Value* most;   // has room for all that there can be, filled from the front along `axis`
  Value* count;  // how much of that there is
  size_t axis;
};

// How far inference gets without a run.
struct PartialInference {
  std::vector<Node*> later;                        // what is not inferred, in order
  std::map<const Value*, MeasuredValue> measured;  // their own nodes are in no list: others make `most`
  std::set<const Value*> asked;                    // read by nodes of `later`, and known so far as shapes go
  absl::Status failure;  // of the first of `later`; OK: it waits for what is measured
};

// Runs InferNode over the graph as far as it goes. UNIMPLEMENTED for an operator that does not exist.
absl::StatusOr<PartialInference> InferPartly(Graph& graph);

// The small inputs (by their place) whose elements decide what the graph is: without them some dimension or
// branch is not known. Errors as InferPartly.
absl::StatusOr<std::set<size_t>> DecidingInputs(const Graph& given);

// Whether the value has so few elements that a request's may become part of the graph. REQUIRES: inferred.
bool HasFewElements(const Value& value);

}  // namespace hachi
