#include "engine/passes/match.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/base/status_macros.h"
#include "engine/ops/op.h"

namespace hachi {

Node* MakerOf(const Value* value, std::string_view op) {
  Node* node = value->producer;
  return node != nullptr && node->op == op && node->post_ops.empty() ? node : nullptr;
}

Node* OnlyReader(const Graph& graph, const Value* value, std::string_view op) {
  if (value->users.size() != 1 || graph.IsOutput(value)) return nullptr;
  Node* node = value->users.front();
  return node->op == op && node->post_ops.empty() ? node : nullptr;
}

bool IsDepthwise(const Node& node) {
  if (node.op != "Conv" || !node.inputs[1]->is_constant()) return false;
  const Shape& weights = node.inputs[1]->constant->shape();
  const auto groups = node.Int("group", 1);
  return groups.ok() && *groups > 1 && weights[0] == *groups && weights[1] == 1;
}

Value* OtherInput(const Node& node, const Value* value) {
  if (node.inputs.size() != 2) return nullptr;
  if (node.inputs[0] == value) return node.inputs[1];
  return node.inputs[1] == value ? node.inputs[0] : nullptr;
}

std::optional<float> ScalarOf(const Value* value) {
  if (!value->is_constant() || value->dtype != DType::kF32 || value->constant->count() != 1)
    return std::nullopt;
  return value->constant->As<float>()[0];
}

bool IsScalar(const Value* value, double number) {
  const auto scalar = ScalarOf(value);
  return scalar && std::abs(static_cast<double>(*scalar) - number) <= 1e-5 * std::abs(number);
}

Value* UnscaledBy(const Value* value, double factor) {
  if (const Node* mul = MakerOf(value, "Mul"))
    for (const size_t side : {0, 1})
      if (IsScalar(mul->inputs[side], factor)) return mul->inputs[1 - side];
  const Node* div = MakerOf(value, "Div");
  return div != nullptr && IsScalar(div->inputs[1], 1 / factor) ? div->inputs[0] : nullptr;
}

std::optional<ProductChannels> ChannelsOf(const Node& product) {
  if (!product.post_ops.empty() || product.inputs.size() < 2 || product.inputs.size() > 3)
    return std::nullopt;
  const bool convolves = product.op == "Conv" || product.op == "ConvTranspose";
  if ((!convolves && product.op != "MatMul") || !product.inputs[1]->is_constant()) return std::nullopt;
  if (const Value* bias = product.input(2);
      bias != nullptr && (!bias->is_constant() || bias->dtype != DType::kF32))
    return std::nullopt;
  const Shape& weights = product.inputs[1]->constant->shape();
  if (product.op == "Conv") return ProductChannels{weights[0], 1, 0};
  if (!convolves && weights.size() != 2) return std::nullopt;
  const auto groups = convolves ? product.Int("group", 1) : absl::StatusOr<int64_t>(1);
  if (!groups.ok()) return std::nullopt;
  return ProductChannels{weights[1] * *groups, convolves ? 1 : product.output()->rank() - 1, 1};
}

bool IsByChannel(const Value& constant, int64_t channels, size_t axis, size_t rank) {
  if (!constant.is_constant() || constant.dtype != DType::kF32) return false;
  if (constant.constant->count() == 1) return true;
  const Shape& shape = constant.constant->shape();
  const size_t behind = rank - axis;  // the axis and those after it
  return constant.constant->count() == channels && shape.size() >= behind &&
         shape[shape.size() - behind] == channels;
}

std::optional<Scaled> ScaledBy(const Node& node) {
  if (!node.post_ops.empty()) return std::nullopt;
  if (node.op == "Div") {
    const auto divisor = ScalarOf(node.inputs[1]);
    if (divisor && *divisor != 0.0f) return Scaled{node.inputs[0], 1.0f / *divisor};
  }
  if (node.op != "Mul") return std::nullopt;
  for (const size_t side : {0, 1})
    if (const auto factor = ScalarOf(node.inputs[side])) return Scaled{node.inputs[1 - side], *factor};
  return std::nullopt;
}

std::optional<Linear> LinearOf(const Node& node) {
  if (const auto scaled = ScaledBy(node)) return Linear{scaled->value, scaled->factor, 0.0f};
  if (!node.post_ops.empty() || (node.op != "Add" && node.op != "Sub")) return std::nullopt;
  const float sign = node.op == "Sub" ? -1.0f : 1.0f;
  if (const auto right = ScalarOf(node.inputs[1])) return Linear{node.inputs[0], 1.0f, sign * *right};
  if (const auto left = ScalarOf(node.inputs[0])) return Linear{node.inputs[1], sign, *left};
  return std::nullopt;
}

absl::StatusOr<Value*> InsertBefore(Graph& graph, Node* before, const std::string& op,
                                    std::vector<Value*> inputs, std::map<std::string, Attr> attrs) {
  const std::string name = absl::StrCat(before->name, "/", op);
  Node* node = graph.AddNode(op, graph.UniqueNodeName(name), std::move(inputs), {graph.UniqueValueName(name)},
                             std::move(attrs), before);
  RETURN_IF_ERROR(InferNode(*node));
  return node->output();
}

void Become(Graph& graph, Node* node, std::string op, const std::vector<Value*>& inputs,
            std::map<std::string, Attr> attrs) {
  for (size_t i = 0; i < node->inputs.size(); ++i) graph.SetInput(node, i, nullptr);
  node->inputs.resize(std::min(node->inputs.size(), inputs.size()));
  for (size_t i = 0; i < inputs.size(); ++i) graph.SetInput(node, i, inputs[i]);
  node->op = std::move(op);
  node->attrs = std::move(attrs);
}

void Absorb(Graph& graph, Node* maker, Node* node) {
  for (size_t i = 0; i < node->inputs.size(); ++i) graph.SetInput(node, i, nullptr);
  graph.TakeOutput(maker, 0, node->output());
  graph.RemoveNode(node);
}

}  // namespace hachi
