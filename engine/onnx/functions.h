#pragma once

#include <onnx/onnx_pb.h>

#include <string_view>

#include "absl/status/status.h"

namespace hachi {

// Whether an operator of the default domain is implemented as it is.
using KnownOp = bool (*)(std::string_view op);

// The attribute by which a node that came from a function's body says its opset, where that is another than
// the model's. An integer.
inline constexpr std::string_view kOpsetAttr = "hachi.opset";

// Replaces each call of one of the model's own functions by the function's body, and so each operator of the
// default domain that `known` does not know and libonnx defines as a function of others; in the graph and in
// the branches of its nodes. `known` null: all are. INVALID_ARGUMENT where functions call themselves or a
// call does not fit; RESOURCE_EXHAUSTED where bodies come to more nodes than a model may have.
absl::Status InlineFunctions(onnx::ModelProto& model, KnownOp known, int max_nodes);

}  // namespace hachi
