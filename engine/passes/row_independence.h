#pragma once

#include <unordered_map>

#include "absl/status/statusor.h"
#include "engine/graph/graph.h"
#include "engine/ops/rows.h"

namespace hachi {

// Which axis of each value holds rows. Values that are not in it are the same for every row; of those, some
// (shape arithmetic) say how many rows there are.
using RowAxes = std::unordered_map<const Value*, size_t>;

// Proves that each row of the graph's outputs is computed from the same row of its inputs alone, whatever the
// others are and however many: then rows of several requests may run together, and be padded by others.
// `rows` is the symbol that counts them, the first dimension of every input and output. UNIMPLEMENTED where
// that is not shown, with the reason: "node 'mean' (ReduceMean): computes across axis 0, which holds rows".
//
// What is not known to keep rows apart (an operator without OpDef::rows, say) is taken to mix them. Expects
// types and shapes inferred.
absl::StatusOr<RowAxes> ProveRowsIndependent(const Graph& graph, const Dim& rows);

// Exporters may name the batch dimension of each input as they like: makes the first dimension of every
// input, where it is a symbol, the first input's, wherever inputs have it. What the graph's nodes make of
// that is to be inferred again. Whether it is right to take them for one is for ProveRowsIndependent to say.
void ShareRowsSymbol(Graph& graph);

}  // namespace hachi
