#include <algorithm>
#include <cmath>
#include <functional>
#include <memory>

#include "absl/strings/str_cat.h"
#include "engine/decide/rules.h"
#include "engine/ops/op.h"
#include "engine/passes/decide_int8.h"
#include "engine/passes/match.h"
#include "engine/passes/passes.h"
#include "engine/quant/weights.h"

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

// Whether there is a scale for each channel (axis 1) and one zero point.
bool IsByChannel(const QuantParams& quant) {
  return quant.axis == 1 &&
         std::ranges::adjacent_find(quant.zero_points, std::not_equal_to<>()) == quant.zero_points.end();
}

// The DequantizeLinear that makes `value`, the input of a depthwise convolution, from integers with a scale
// for each channel; null: none does.
Node* ChannelDequantizerOf(const Value* value) {
  Node* node = value->producer;
  if (node == nullptr || node->op != "DequantizeLinear") return nullptr;
  const Value& integers = *node->inputs[0];
  return IsByte(integers.dtype) && integers.quant && IsByChannel(*integers.quant) ? node : nullptr;
}

// The QuantizeLinear to bytes that alone reads `value`; null: there are other readers, or none. `by_channel`:
// it may have a scale for each channel.
Node* QuantizerOf(const Graph& graph, const Value* value, bool by_channel = false) {
  if (value->users.size() != 1 || graph.IsOutput(value)) return nullptr;
  Node* node = value->users.front();
  const auto& quant = node->output()->quant;
  if (node->op != "QuantizeLinear" || !quant || !IsByte(node->output()->dtype)) return nullptr;
  return quant->per_tensor() || (by_channel && IsByChannel(*quant)) ? node : nullptr;
}

class Folder {
 public:
  Folder(Graph& graph, const PassOptions& options) : graph_(graph), options_(options) {}

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

  // What only moves elements moves integers; real numbers are made of those behind it.
  void SinkDequantizers() {
    const std::vector<Node*> nodes = graph_.NodeList();
    for (size_t i = 0; i < nodes.size(); ++i) {
      Node& node = *nodes[i];
      if (FindOp(node.op)->quantize != QuantRule::kKeepScale) continue;
      const Node* from = DequantizerOf(node.inputs[0]);
      if (from == nullptr) continue;
      TakeInput(node, 0);
      for (Value* output : node.outputs)
        Dequantize(output, *from, i + 1 < nodes.size() ? nodes[i + 1] : nullptr);
    }
  }

  // Numbers along the last axis that real numbers are multiplied by, to be quantized.
  void TakeFactors() {
    for (Node* node : graph_.NodeList()) {
      Node* mul = node->op == "QuantizeLinear" ? MakerOf(node->inputs[0], "Mul") : nullptr;
      if (mul == nullptr || node->inputs.size() > 3 || node->inputs[0]->users.size() != 1 ||
          graph_.IsOutput(node->inputs[0]))
        continue;
      Value *x = mul->inputs[0], *factors = mul->inputs[1];
      if (x->is_constant() || !factors->is_constant() || factors->dtype != DType::kF32 || x->rank() == 0 ||
          *factors->dims != SymbolicShape{x->dims->back()} || MakerOf(x, "DequantizeLinear") != nullptr)
        continue;
      graph_.SetInput(node, 0, x);
      graph_.SetInput(node, 3, factors);
      graph_.RemoveNode(mul);
    }
  }

  // What is dequantized to be quantized again. Another scale is made of integers: to rescale bytes is less
  // than to round real numbers.
  void JoinPairs() {
    for (Node* node : graph_.NodeList()) {
      if (node->op != "QuantizeLinear" || DequantizerOf(node->inputs[0]) == nullptr) continue;
      TakeInput(*node, 0);
      Value &in = *node->inputs[0], &out = *node->output();
      if (in.dtype != out.dtype || in.quant != out.quant) continue;
      graph_.ReplaceUses(&out, &in);
      graph_.RemoveNode(node);
    }
  }

  void Fold(Node& node) {
    const OpDef& op = *FindOp(node.op);
    switch (op.quantize) {
      case QuantRule::kNone: {
        const bool takes_integers = op.quantizes_output || !op.reads_elements;
        if (takes_integers && DequantizerOf(node.inputs[0]) != nullptr) TakeInput(node, 0);
        if (!op.quantizes_output) return;
        if (Node* to = QuantizerOf(graph_, node.output())) Absorb(graph_, &node, to);
        return;
      }
      case QuantRule::kWeighted:
        return FoldProduct(node);
      case QuantRule::kKeepScale:
        return;
      case QuantRule::kRescale: {
        Node* to = QuantizerOf(graph_, node.output());
        if (to == nullptr) return;
        for (const Value* input : node.inputs)
          if (input != nullptr && !input->is_constant() && DequantizerOf(input) == nullptr) return;
        for (size_t i = 0; i < node.inputs.size(); ++i)
          if (node.inputs[i] != nullptr && !node.inputs[i]->is_constant()) TakeInput(node, i);
        Absorb(graph_, &node, to);
        return;
      }
    }
  }

 private:
  // `value` holds integers now, as `from` reads; others read what another DequantizeLinear makes of them.
  void Dequantize(Value* value, const Node& from, Node* before) {
    const std::string name = absl::StrCat(value->name, "_dequantized");
    std::vector<Value*> inputs = from.inputs;
    inputs[0] = nullptr;
    Node* node = graph_.AddNode("DequantizeLinear", graph_.UniqueNodeName(name), std::move(inputs),
                                {graph_.UniqueValueName(name)}, from.attrs, before);
    graph_.ReplaceUses(value, node->output());
    graph_.SetInput(node, 0, value);
    node->output()->dims = value->dims;
    node->output()->layout = value->layout;
    value->dtype = from.inputs[0]->dtype;
    value->quant = from.inputs[0]->quant;
  }

  // Whether kernels take these integers for input 0 and weights: without VNNI what could saturate runs on
  // real numbers (see PassOptions).
  bool Fits(const Node& node, const Value& in) const {
    if (in.dtype != DType::kU8 && !options_.signed_activations) return false;
    const ConstantIntegers* integers = node.inputs[1]->integers.get();
    if (integers == nullptr || !HasIntegerKernels(node)) return false;
    const auto axis = static_cast<int>(FindOp(node.op)->channel_axis(node));
    if (!integers->params.per_tensor() && integers->params.axis != axis) return false;
    return options_.weight_bits == 8 || !PairSumsMaySaturate(integers->values, axis);
  }

  // Weights that some training tools write as real numbers, rounded to their grids: those grids, where every
  // weight lies on its channel's.
  void FindIntegers(Node& node) {
    Value* weights = node.inputs[1];
    if (!weights->is_constant() || weights->dtype != DType::kF32 || weights->integers != nullptr) return;
    if (!HasIntegerKernels(node)) return;
    const auto axis = static_cast<int>(FindOp(node.op)->channel_axis(node));
    auto found = QuantizeWeights(weights->constant->view(), axis, 8);
    if (!found.ok()) return;
    constexpr float kRounding = 1e-3f;  // of a step
    const Shape& shape = weights->constant->shape();
    const int64_t inner = CountOf(std::span(shape).subspan(static_cast<size_t>(axis) + 1));
    const auto reals = weights->constant->As<float>();
    const auto integers = found->values.As<int8_t>();
    for (int64_t i = 0; i < weights->constant->count(); ++i) {
      const float scale =
          found->params.scales[static_cast<size_t>(i / inner % shape[static_cast<size_t>(axis)])];
      if (std::abs(reals[i] / scale - static_cast<float>(integers[i])) > kRounding) return;
    }
    weights->integers = std::make_shared<const ConstantIntegers>(
        ConstantIntegers{std::move(found->values), std::move(found->params)});
  }

  void FoldProduct(Node& node) {
    const Node* from = DequantizerOf(node.inputs[0]);
    if (from == nullptr && IsDepthwise(node)) from = ChannelDequantizerOf(node.inputs[0]);
    if (from == nullptr) return;
    const auto could = [&] {
      FindIntegers(node);
      return Fits(node, *from->inputs[0]);
    };
    if (!DecideInt8(options_, node, could)) return;
    TakeInput(node, 0);
    TakeWeights(node);

    // A residual lies where the result goes: both are bytes, or both FP32.
    const int residual = ResidualOf(node.post_ops);
    Node* to = QuantizerOf(graph_, node.output(), /*by_channel=*/node.op == "Conv" && residual < 0);
    if (to != nullptr && residual >= 0) {
      if (DequantizerOf(node.inputs[static_cast<size_t>(residual)]) == nullptr) return;
      TakeInput(node, static_cast<size_t>(residual));
    }
    if (to != nullptr) Absorb(graph_, &node, to);
  }

  // The node reads its weights' integers.
  void TakeWeights(Node& node) {
    Value* weights = node.inputs[1];
    const std::shared_ptr<const ConstantIntegers> integers = weights->integers;
    const std::shared_ptr<const Tensor> values(integers, &integers->values);
    if (weights->users.size() > 1) {
      weights = graph_.AddConstant(graph_.UniqueValueName(absl::StrCat(weights->name, "_s8")), values);
      graph_.SetInput(&node, 1, weights);
    }
    weights->constant = values;
    weights->dtype = values->dtype();
    weights->quant = integers->params;
    weights->integers = nullptr;
  }

  void TakeInput(Node& node, size_t i) { graph_.SetInput(&node, i, node.inputs[i]->producer->inputs[0]); }

  Graph& graph_;
  const PassOptions& options_;
};

}  // namespace

absl::Status FoldQuantizers(Graph& graph, const PassOptions& options) {
  Folder folder(graph, options);
  for (Value* input : graph.inputs()) folder.FoldInput(*input);
  folder.TakeFactors();
  folder.SinkDequantizers();
  folder.JoinPairs();
  // Folding removes quantizers, so the list is of what stays.
  std::vector<Node*> nodes = graph.NodeList();
  std::erase_if(
      nodes, [](const Node* node) { return node->op == "QuantizeLinear" || node->op == "DequantizeLinear"; });
  for (Node* node : nodes) folder.Fold(*node);
  return absl::OkStatus();
}

}  // namespace hachi
