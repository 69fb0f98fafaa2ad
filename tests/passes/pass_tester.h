#pragma once

#include <string>
#include <string_view>

#include "engine/graph/graph.h"
#include "engine/passes/pass.h"
#include "engine/passes/passes.h"
#include "tests/support/status_matchers.h"

namespace hachi {

using PassFunction = absl::Status (*)(Graph&, const PassOptions&);

// The graph's text after one pass: its nodes, a line each, without constants, inputs and outputs.
inline std::string RunOne(PassFunction run, std::string_view graph_text, const PassOptions& options = {}) {
  auto graph = ParseGraph(graph_text);
  EXPECT_OK(graph);
  if (!graph.ok()) return "";
  const Pass pass{"tested", run};
  const absl::Status status = RunPasses(*graph, {&pass, 1}, options);
  if (!status.ok()) return status.ToString();
  std::string text;
  for (const auto& node : graph->nodes()) text += ToText(*node) + "\n";
  return text;
}

}  // namespace hachi
