#include "engine/passes/passes.h"

namespace hachi {
namespace {

bool DoesNothing(const Graph& graph, const Node& node) {
  if (node.op == "Identity") return true;
  if (node.op == "Cast") return node.inputs[0]->dtype == node.outputs[0]->dtype;
  if (node.op != "Dropout") return false;
  for (size_t i = 1; i < node.outputs.size(); ++i)
    if (!node.outputs[i]->users.empty() || graph.IsOutput(node.outputs[i])) return false;
  return true;
}

}  // namespace

absl::Status RemoveIdentities(Graph& graph, const PassOptions& /*options*/) {
  for (Node* node : graph.NodeList()) {
    if (!DoesNothing(graph, *node)) continue;
    graph.ReplaceUses(node->outputs[0], node->inputs[0]);
    graph.RemoveNode(node);
  }
  return absl::OkStatus();
}

}  // namespace hachi
