#include <cmath>

#include "engine/passes/match.h"
#include "engine/passes/passes.h"

namespace hachi {
namespace {

// The node that halves `value` and alone reads it; null: there is none.
Node* HalvedBy(const Graph& graph, const Value* value) {
  for (const char* op : {"Mul", "Div"})
    if (Node* node = OnlyReader(graph, value, op);
        node != nullptr && UnscaledBy(node->output(), 0.5) == value)
      return node;
  return nullptr;
}

// The last node of x / 2 × (1 + erf(x / sqrt(2))), whose factors may come in any order; null: `erf` is of
// something else.
Node* LastOfGelu(const Graph& graph, const Node& erf, const Value* x) {
  const Node* plus_one = OnlyReader(graph, erf.output(), "Add");
  if (plus_one == nullptr || !IsScalar(OtherInput(*plus_one, erf.output()), 1.0)) return nullptr;
  if (Node* mul = OnlyReader(graph, plus_one->output(), "Mul")) {
    const Value* other = OtherInput(*mul, plus_one->output());
    if (other == x) return HalvedBy(graph, mul->output());
    if (UnscaledBy(other, 0.5) == x) return mul;
  }
  const Node* half = HalvedBy(graph, plus_one->output());
  if (half == nullptr) return nullptr;
  Node* mul = OnlyReader(graph, half->output(), "Mul");
  return mul != nullptr && OtherInput(*mul, half->output()) == x ? mul : nullptr;
}

}  // namespace

absl::Status FuseGelu(Graph& graph, const PassOptions& /*options*/) {
  for (Node* node : graph.NodeList()) {
    if (node->op != "Erf") continue;
    Value* x = UnscaledBy(node->inputs[0], std::sqrt(0.5));
    if (x == nullptr || x->dtype != DType::kF32) continue;
    if (Node* last = LastOfGelu(graph, *node, x); last != nullptr && last->output()->dims == x->dims)
      Become(graph, last, "Gelu", {x});
  }
  return absl::OkStatus();
}

}  // namespace hachi
