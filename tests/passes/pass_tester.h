#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "engine/graph/graph.h"
#include "engine/passes/pass.h"
#include "engine/passes/passes.h"
#include "tests/support/status_matchers.h"

namespace hachi {

using PassFunction = absl::Status (*)(Graph&, const PassOptions&);

// The graph's text after these passes: its nodes, a line each, without constants, inputs and outputs.
inline std::string RunAll(const std::vector<PassFunction>& runs, std::string_view graph_text,
                          const PassOptions& options = {}) {
  auto graph = ParseGraph(graph_text);
  EXPECT_OK(graph);
  if (!graph.ok()) return "";
  std::vector<Pass> passes;
  for (const PassFunction run : runs) passes.push_back({"tested", run});
  const absl::Status status = RunPasses(*graph, passes, options);
  if (!status.ok()) return status.ToString();
  std::string text;
  for (const auto& node : graph->nodes()) text += ToText(*node) + "\n";
  return text;
}

// The same after one.
inline std::string RunOne(PassFunction run, std::string_view graph_text, const PassOptions& options = {}) {
  return RunAll({run}, graph_text, options);
}

}  // namespace hachi
