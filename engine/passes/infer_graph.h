#pragma once

#include <set>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/graph/graph.h"

namespace hachi {

// Runs InferNode over the graph in order. An If gives way to the nodes of the branch that its condition
// takes, where that is a constant or follows from constants and known shapes; UNIMPLEMENTED where it doesn't.
absl::Status InferGraph(Graph& graph);

// The small inputs (by their place) whose elements decide what the graph is: without them some dimension or
// branch is not known. Leaves the graph partly inferred. UNIMPLEMENTED for an operator that does not exist.
absl::StatusOr<std::set<size_t>> DecidingInputs(Graph& graph);

}  // namespace hachi
