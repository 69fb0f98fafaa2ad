#pragma once

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/graph/graph.h"

// Pieces that operators' infer functions are made of. All return INVALID_ARGUMENT saying what was found and
// expected; the caller adds the node.
namespace hachi {

// Between `min` and `max` inputs are listed and the first `min` of them are there.
absl::Status CheckInputCount(const Node& node, size_t min, size_t max);

// Input `i` has one of the types.
absl::Status CheckInputType(const Node& node, size_t i, std::initializer_list<DType> types);

absl::Status CheckRank(const Node& node, size_t i, size_t min, size_t max);

// `axis` counted from the front; negative ones count from the back.
absl::StatusOr<size_t> CheckAxis(int64_t axis, size_t rank);

// The dimensions of NumPy broadcasting. Symbolic dimensions must be equal or meet a 1.
absl::StatusOr<SymbolicShape> BroadcastDims(const SymbolicShape& a, const SymbolicShape& b);

// Sets the only output.
absl::Status SetOutput(Node& node, DType dtype, SymbolicShape dims);

// infer for element-wise operators of one input: the output is like input 0.
absl::Status InferLikeInput(Node& node);

}  // namespace hachi
