#include <algorithm>
#include <map>
#include <memory>
#include <set>
#include <vector>

#include "absl/strings/str_cat.h"
#include "engine/base/status_macros.h"
#include "engine/decide/rules.h"
#include "engine/ops/infer.h"
#include "engine/ops/op.h"
#include "engine/passes/match.h"
#include "engine/passes/passes.h"
#include "engine/tensor/half.h"

namespace hachi {
namespace {

class Placer {
 public:
  Placer(Graph& graph, const PassOptions& options) : graph_(graph), options_(options) {}

  absl::Status Run() {
    std::vector<Node*> chosen;
    for (Node* node : graph_.NodeList())
      if (IsWanted(*node)) chosen.push_back(node);
    for (Node* node : chosen) {
      graph_.SetInput(node, 0, Narrow(node->inputs[0], node));
      Value* weights = node->inputs[1];
      graph_.SetInput(node, 1, weights->is_constant() ? NarrowConstant(weights) : Narrow(weights, node));
      chosen_.insert(node);
    }
    for (Node* node : chosen) JoinOutput(*node);
    for (Node* node : chosen) FitResidual(*node);
    return absl::OkStatus();
  }

 private:
  // Whether it is a product of real numbers that is to run in BF16.
  bool IsWanted(const Node& node) const {
    if (FindOp(node.op)->quantize != QuantRule::kWeighted) return false;
    const std::vector<const Value*> reals = {node.inputs[0], node.inputs[1], node.output()};
    if (std::ranges::any_of(reals, [](const Value* v) { return v->dtype != DType::kF32 || v->quant; }))
      return false;
    return WantedPrecision(options_, node.name) == Precision::kBf16;
  }

  // The value in BF16, made in front of `before` where it is not there yet.
  Value* Narrow(Value* value, Node* before) {
    if (value->dtype == DType::kBF16) return value;
    Value*& narrow = narrow_[value];
    if (narrow == nullptr) narrow = AddCast(value, before, DType::kBF16);
    return narrow;
  }

  Value* AddCast(Value* value, Node* before, DType dtype) {
    constexpr int64_t kFloat = 1, kBfloat16 = 16;  // ONNX's numbers
    const std::string name = absl::StrCat(value->name, "_", std::string(NameOf(dtype)));
    Node* cast = graph_.AddNode("Cast", graph_.UniqueNodeName(name), {value}, {graph_.UniqueValueName(name)},
                                {{"to", dtype == DType::kF32 ? kFloat : kBfloat16}}, before);
    Value* made = cast->output();
    made->dims = value->dims;
    made->layout = value->layout;
    made->dtype = dtype;
    return made;
  }

  Value* NarrowConstant(Value* value) {
    Value*& narrow = narrow_[value];
    if (narrow != nullptr) return narrow;
    auto tensor = std::make_shared<Tensor>(DType::kBF16, value->constant->shape());
    auto* out = reinterpret_cast<uint16_t*>(tensor->bytes().data());
    for (const float x : value->constant->As<float>()) *out++ = Bf16OfFloat(x);
    narrow =
        graph_.AddConstant(graph_.UniqueValueName(absl::StrCat(value->name, "_bf16")), std::move(tensor));
    return narrow;
  }

  // What a chosen node makes, and another reads in BF16, is made so; other readers get it widened.
  void JoinOutput(Node& node) {
    Value* value = node.output();
    const auto found = narrow_.find(value);
    if (found == narrow_.end() || graph_.IsOutput(value)) return;
    Node* cast = found->second->producer;
    const std::vector<Node*> readers = value->users;
    value->dtype = DType::kBF16;
    Value* wide = nullptr;
    for (Node* reader : readers) {
      if (reader == cast || chosen_.contains(reader))
        continue;  // those read it as a residual: see FitResidual
      if (wide == nullptr) wide = AddCast(value, FirstOf(readers, cast), DType::kF32);
      for (size_t i = 0; i < reader->inputs.size(); ++i)
        if (reader->inputs[i] == value) graph_.SetInput(reader, i, wide);
    }
    graph_.ReplaceUses(cast->output(), value);
    graph_.RemoveNode(cast);
  }

  // The first in the graph's order, `but` aside.
  Node* FirstOf(const std::vector<Node*>& nodes, const Node* but) const {
    const auto is = [&](const auto& node) {
      return node.get() != but && std::ranges::count(nodes, node.get()) > 0;
    };
    return std::ranges::find_if(graph_.nodes(), is)->get();
  }

  // A residual lies where the result goes: it has its type.
  void FitResidual(Node& node) {
    const int operand = ResidualOf(node.post_ops);
    if (operand < 0) return;
    Value* residual = node.inputs[static_cast<size_t>(operand)];
    const DType wanted = node.output()->dtype;
    if (residual->dtype != wanted)
      graph_.SetInput(&node, static_cast<size_t>(operand), AddCast(residual, &node, wanted));
  }

  Graph& graph_;
  const PassOptions& options_;
  std::set<const Node*> chosen_;
  std::map<const Value*, Value*> narrow_;
};

}  // namespace

absl::Status PlaceBf16(Graph& graph, const PassOptions& options) {
  const auto is_bf16 = [](const auto& pin) { return pin.second == Precision::kBf16; };
  if (!options.bf16 && options.given == nullptr && std::ranges::none_of(options.pins, is_bf16))
    return absl::OkStatus();
  return Placer(graph, options).Run();
}

}  // namespace hachi
