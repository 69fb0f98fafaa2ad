#pragma once

#include <map>
#include <span>
#include <vector>

#include "engine/graph/graph.h"

namespace hachi {

// What values of other places are in a graph.
using Copies = std::map<const Value*, Value*>;

// What `value` is in `graph`: what `copies` says, else, of a constant, a copy from now on; null else.
Value* CopyOf(const Value* value, Copies& copies, Graph& graph);

// Copies nodes into `graph`, in front of `before` (null: at the end), under names that are free there, and
// notes their outputs, which are not inferred. REQUIRES: `nodes` are in order; what they read is theirs,
// constant or in `copies`.
std::vector<Node*> CopyNodes(std::span<const Node* const> nodes, Copies& copies, Graph& graph, Node* before);

}  // namespace hachi
