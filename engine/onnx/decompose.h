#pragma once

#include "absl/status/statusor.h"
#include "engine/graph/graph.h"

namespace hachi {

// Whether the operator gives way to others: small ones of ONNX, and the fused ones of the domain
// com.microsoft that ONNX Runtime's optimizer writes. True: the node is gone. UNIMPLEMENTED where a form of
// it is not read. REQUIRES: its outputs are defined nowhere else.
absl::StatusOr<bool> Decompose(Graph& graph, Node& node);

}  // namespace hachi
