#include <algorithm>

#include "engine/base/status_macros.h"
#include "engine/ops/op.h"
#include "engine/ops/quantizers.h"
#include "engine/passes/match.h"
#include "engine/passes/passes.h"

namespace hachi {
namespace {

bool IsByte(DType dtype) { return dtype == DType::kU8 || dtype == DType::kS8; }

// The DequantizeLinear that makes `value` from integers with one scale; null: none does.
Node* DequantizerOf(const Value* value) {
  Node* node = value->producer;
  if (node == nullptr || node->op != "DequantizeLinear") return nullptr;
  const Value& integers = *node->inputs[0];
  // Integers of a graph input are what clients send, not what we made of it.
  const bool typed = integers.quant && integers.quant->per_tensor();
  return IsByte(integers.dtype) && typed ? node : nullptr;
}

// The QuantizeLinear that alone reads `value`; null: there are other readers, or none.
Node* QuantizerOf(const Graph& graph, const Value* value) {
  if (value->users.size() != 1 || graph.IsOutput(value)) return nullptr;
  Node* node = value->users.front();
  const auto& quant = node->output()->quant;
  const bool per_tensor = node->op == "QuantizeLinear" && quant && quant->per_tensor();
  return per_tensor ? node : nullptr;
}

class Folder {
 public:
  explicit Folder(Graph& graph) : graph_(graph) {}

  absl::Status Fold(Node& node) {
    const OpDef& op = *FindOp(node.op);
    switch (op.quantize) {
      case QuantRule::kNone: {
        const bool takes_integers = op.quantizes_output || !op.reads_elements;
        if (takes_integers && DequantizerOf(node.inputs[0]) != nullptr) TakeInput(node, 0);
        if (!op.quantizes_output) return absl::OkStatus();
        if (Node* to = QuantizerOf(graph_, node.output())) Absorb(graph_, &node, to);
        return absl::OkStatus();
      }
      case QuantRule::kWeighted:
        return FoldProduct(node);
      case QuantRule::kKeepScale: {
        Node *from = DequantizerOf(node.inputs[0]), *to = QuantizerOf(graph_, node.output());
        if (from == nullptr || to == nullptr) return absl::OkStatus();
        const Value &in = *from->inputs[0], &out = *to->output();
        if (in.dtype != out.dtype || in.quant != out.quant) return absl::OkStatus();
        TakeInput(node, 0);
        Absorb(graph_, &node, to);
        return absl::OkStatus();
      }
      case QuantRule::kRescale: {
        Node* to = QuantizerOf(graph_, node.output());
        if (to == nullptr) return absl::OkStatus();
        for (const Value* input : node.inputs)
          if (input != nullptr && !input->is_constant() && DequantizerOf(input) == nullptr)
            return absl::OkStatus();
        for (size_t i = 0; i < node.inputs.size(); ++i)
          if (node.inputs[i] != nullptr && !node.inputs[i]->is_constant()) TakeInput(node, i);
        Absorb(graph_, &node, to);
        return absl::OkStatus();
      }
    }
    return absl::OkStatus();
  }

  // An FP32 graph input that only a quantizer reads.
  void FoldInput(Value& input) {
    Node* to = QuantizerOf(graph_, &input);
    if (to == nullptr || input.dtype != DType::kF32) return;
    Value* integers = to->output();
    input.dtype = integers->dtype;
    input.quant = integers->quant;
    graph_.ReplaceUses(integers, &input);
    graph_.RemoveNode(to);
  }

 private:
  absl::Status FoldProduct(Node& node) {
    Node *from = DequantizerOf(node.inputs[0]), *weights = node.inputs[1]->producer;
    if (from == nullptr || weights == nullptr || weights->op != "DequantizeLinear") return absl::OkStatus();
    Value* integers = weights->inputs[0];
    if (!integers->is_constant() || integers->dtype != DType::kS8) return absl::OkStatus();
    ASSIGN_OR_RETURN(QuantParams params, ReadQuantParams(*weights, DType::kS8));
    if (std::ranges::any_of(params.zero_points, [](int32_t zero) { return zero != 0; }))
      return absl::OkStatus();
    TakeInput(node, 0);
    integers->quant = std::move(params);
    graph_.SetInput(&node, 1, integers);

    // A residual lies where the result goes: both are bytes, or both FP32.
    Node* to = QuantizerOf(graph_, node.output());
    for (const PostOp& post_op : node.post_ops) {
      if (post_op.kind != PostOp::Kind::kAdd || to == nullptr) continue;
      const auto operand = static_cast<size_t>(post_op.operand);
      if (DequantizerOf(node.inputs[operand]) == nullptr) return absl::OkStatus();
      TakeInput(node, operand);
    }
    if (to != nullptr) Absorb(graph_, &node, to);
    return absl::OkStatus();
  }

  void TakeInput(Node& node, size_t i) { graph_.SetInput(&node, i, node.inputs[i]->producer->inputs[0]); }

  Graph& graph_;
};

}  // namespace

absl::Status FoldQuantizers(Graph& graph, const PassOptions& /*options*/) {
  Folder folder(graph);
  for (Value* input : graph.inputs()) folder.FoldInput(*input);
  // Folding removes quantizers, so the list is of what stays.
  std::vector<Node*> nodes = graph.NodeList();
  std::erase_if(
      nodes, [](const Node* node) { return node->op == "QuantizeLinear" || node->op == "DequantizeLinear"; });
  for (Node* node : nodes) RETURN_IF_ERROR(folder.Fold(*node));
  return absl::OkStatus();
}

}  // namespace hachi
