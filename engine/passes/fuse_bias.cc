#include "engine/passes/passes.h"

namespace hachi {

absl::Status FuseBias(Graph& graph, const PassOptions& /*options*/) {
  for (Node* node : graph.NodeList()) {
    if (node->op != "Add" || !node->post_ops.empty()) continue;
    for (const size_t side : {0, 1}) {
      Value *product = node->inputs[side], *bias = node->inputs[1 - side];
      Node* matmul = product->producer;
      if (matmul == nullptr || matmul->op != "MatMul" || matmul->inputs.size() != 2) continue;
      if (product->users.size() != 1 || graph.IsOutput(product)) continue;
      if (!matmul->inputs[1]->is_constant() || matmul->inputs[1]->rank() != 2) continue;
      if (!bias->is_constant() || bias->dims != SymbolicShape{matmul->inputs[1]->dims->back()}) continue;
      graph.SetInput(matmul, 2, bias);
      graph.SetInput(node, side, nullptr);
      graph.TakeOutput(matmul, 0, node->output());
      graph.RemoveNode(node);
      break;
    }
  }
  return absl::OkStatus();
}

}  // namespace hachi
