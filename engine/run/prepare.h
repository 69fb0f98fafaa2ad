#pragma once

#include <cstddef>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/graph/graph.h"
#include "engine/passes/pass.h"

namespace hachi {

// A graph that computes what the file says, after PreparePasses.
struct PreparedGraph {
  Graph graph;
  std::optional<Dim> rows;  // the symbol that counts rows, each proven independent; nullopt: whole tensors
  std::string why_whole;    // why there is none
};

// Prepares the graph as rows that may run together, where that is proven; else as whole tensors, whose batch
// axes are free dimensions like others, or 1 where exporters have baked that in.
absl::StatusOr<PreparedGraph> PrepareGraph(const Graph& imported, const PassOptions& options);

// The graph of one request: its inputs have these shapes, in the model's order of axes, and those that
// decide, by their place, hold these values.
Graph GraphFor(const Graph& imported, std::span<const Shape> shapes, const std::set<size_t>& deciding,
               std::span<const std::vector<std::byte>> values);

}  // namespace hachi
