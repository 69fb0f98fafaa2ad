#pragma once

#include <cstdint>

#include "absl/status/status.h"
#include "engine/graph/graph.h"

namespace hachi {

// Rewrites nodes of an older opset into the newest operator form, which README.md lists. A node that has the
// attribute kOpsetAttr is of that opset, and loses it. REQUIRES: the graph is sorted and stays so.
absl::Status Upgrade(Graph& graph, int64_t opset);

}  // namespace hachi
