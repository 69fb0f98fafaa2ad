#include <span>
#include <vector>

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

void ScaleConstant(Graph& graph, Node* node, size_t input, std::span<const double> factors, size_t axis,
                   const char* what) {
  graph.SetInput(node, input,
                 AddScaled(graph, *node->inputs[input], absl::StrCat(node->name, what), factors, axis));
}

void ScaleWeights(Graph& graph, Node* product, std::span<const double> factors, size_t axis) {
  ScaleConstant(graph, product, 1, factors, axis, "_weights");
  if (product->input(2) != nullptr) ScaleConstant(graph, product, 2, factors, 0, "_bias");
}

// Scales a product by a constant with a factor for each channel; whether `node` was such a Mul.
bool FoldChannelFactors(Graph& graph, Node* node) {
  if (node->op != "Mul" || !node->post_ops.empty()) return false;
  for (const size_t side : {0, 1}) {
    Value *result = node->inputs[side], *factors = node->inputs[1 - side];
    Node* product = result->producer;
    if (product == nullptr || OnlyReader(graph, result, "Mul") == nullptr) continue;
    const auto channels = ChannelsOf(*product);
    if (!channels || product->op == "ConvTranspose" || !HasOwnWeights(*product)) continue;
    if (result->dims != node->output()->dims ||
        !IsByChannel(*factors, channels->count, channels->axis, result->rank()))
      continue;
    const auto numbers = factors->constant->As<float>();
    ScaleWeights(graph, product, std::vector<double>(numbers.begin(), numbers.end()), channels->weights_axis);
    Absorb(graph, product, node);
    return true;
  }
  return false;
}

}  // namespace

absl::Status FoldScales(Graph& graph, const PassOptions& /*options*/) {
  for (Node* node : graph.NodeList()) {
    if (FoldChannelFactors(graph, node)) continue;
    const auto scale = ScaledBy(*node);
    if (!scale || scale->value->dtype != DType::kF32 || scale->value->dims != node->output()->dims) continue;
    Node* product = scale->value->producer;
    if (product == nullptr || FindOp(product->op)->quantize != QuantRule::kWeighted) continue;
    if (!product->post_ops.empty() || OnlyReader(graph, scale->value, node->op) != node) continue;
    if (HasOwnWeights(*product)) {
      const double factors[] = {static_cast<double>(scale->factor)};
      ScaleWeights(graph, product, factors, 0);
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
