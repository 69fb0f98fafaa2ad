#include "absl/strings/str_cat.h"
#include "engine/ops/op.h"
#include "engine/passes/integers.h"
#include "engine/passes/match.h"
#include "engine/passes/passes.h"

namespace hachi {
namespace {

// Whether the product's weights and bias can take a factor: they are constants of its own. A second copy of
// shared weights would cost more than it saves.
bool HasOwnWeights(const Node& product) {
  const Value& weights = *product.inputs[1];
  if (!weights.is_constant() || weights.dtype != DType::kF32 || weights.users.size() != 1) return false;
  const Value* bias = product.input(2);
  return bias == nullptr || (bias->is_constant() && bias->dtype == DType::kF32);
}

// Whether the product is of two tensors that are made in a run.
bool HasComputedOperands(const Node& product) {
  return product.op == "MatMul" && product.inputs.size() == 2 && !product.inputs[1]->is_constant();
}

void ScaleConstant(Graph& graph, Node* node, size_t input, float factor, const char* what) {
  const double factors[] = {static_cast<double>(factor)};
  graph.SetInput(node, input,
                 AddScaled(graph, *node->inputs[input], absl::StrCat(node->name, what), factors, 0));
}

}  // namespace

absl::Status FoldScales(Graph& graph, const PassOptions& /*options*/) {
  for (Node* node : graph.NodeList()) {
    const auto scale = ScaledBy(*node);
    if (!scale || scale->value->dtype != DType::kF32 || scale->value->dims != node->output()->dims) continue;
    Node* product = scale->value->producer;
    if (product == nullptr || FindOp(product->op)->quantize != QuantRule::kWeighted) continue;
    if (!product->post_ops.empty() || OnlyReader(graph, scale->value, node->op) != node) continue;
    if (HasOwnWeights(*product)) {
      ScaleConstant(graph, product, 1, scale->factor, "_weights");
      if (product->input(2) != nullptr) ScaleConstant(graph, product, 2, scale->factor, "_bias");
    } else if (HasComputedOperands(*product)) {
      product->post_ops.push_back({PostOp::Kind::kLinear, scale->factor, 0.0f});
    } else {
      continue;
    }
    Absorb(graph, product, node);
  }
  return absl::OkStatus();
}

}  // namespace hachi
