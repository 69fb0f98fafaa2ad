#include "engine/passes/match.h"
#include "engine/passes/passes.h"

namespace hachi {

absl::Status FuseBias(Graph& graph, const PassOptions& /*options*/) {
  for (Node* node : graph.NodeList()) {
    if (node->op != "Add" || !node->post_ops.empty()) continue;
    for (const size_t side : {0, 1}) {
      Value *product = node->inputs[side], *bias = node->inputs[1 - side];
      Node* matmul = MakerOf(product, "MatMul");
      if (matmul == nullptr || matmul->inputs.size() != 2 || OnlyReader(graph, product, "Add") == nullptr)
        continue;
      if (!matmul->inputs[1]->is_constant() || matmul->inputs[1]->rank() != 2) continue;
      if (!bias->is_constant() || bias->dims != SymbolicShape{matmul->inputs[1]->dims->back()}) continue;
      graph.SetInput(matmul, 2, bias);
      Absorb(graph, matmul, node);
      break;
    }
  }
  return absl::OkStatus();
}

}  // namespace hachi
