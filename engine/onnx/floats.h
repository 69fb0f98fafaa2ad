#pragma once

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/graph/graph.h"

// Real numbers of every width are computed in FP32: what a file holds in f16, bf16 or f64 is converted, and
// what clients send and get in those types is cast at the ends of the graph.
namespace hachi {

// Constants and attributes become f32; behind an input of another width stands a Cast.
absl::Status UnifyFloats(Graph& graph);

// `value` as an output of the ONNX element type that the file declares: behind a Cast where that is f16, bf16
// or f64.
absl::StatusOr<Value*> InDeclaredFloats(Graph& graph, Value* value, int onnx_type);

}  // namespace hachi
