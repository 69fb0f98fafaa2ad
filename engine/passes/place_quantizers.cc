#include <algorithm>
#include <map>
#include <optional>
#include <unordered_set>

#include "absl/strings/str_cat.h"
#include "engine/base/status_macros.h"
#include "engine/ops/op.h"
#include "engine/passes/passes.h"
#include "engine/quant/weights.h"

namespace hachi {
namespace {

// `pattern` with '*' for any characters matches the whole of `text`.
bool Matches(std::string_view pattern, std::string_view text) {
  const size_t star = pattern.find('*');
  if (star == std::string_view::npos) return pattern == text;
  if (!text.starts_with(pattern.substr(0, star))) return false;
  const std::string_view rest = pattern.substr(star + 1);
  for (size_t at = star; at <= text.size(); ++at)
    if (Matches(rest, text.substr(at))) return true;
  return false;
}

class Placer {
 public:
  Placer(Graph& graph, const PassOptions& options) : graph_(graph), options_(options) {}

  absl::Status Run() {
    RETURN_IF_ERROR(CheckPins());
    const std::vector<Node*> nodes = graph_.NodeList();
    for (Node* node : nodes) {
      ASSIGN_OR_RETURN(const bool able, IsAble(*node));
      if (able) able_.insert(node);
    }
    // Against the flow: what a product reads is wanted in integers, and through it what made that.
    for (auto it = nodes.rbegin(); it != nodes.rend(); ++it)
      if (able_.contains(*it) && (IsWeighted(**it) || IsWanted(*(*it)->output()))) chosen_.insert(*it);
    for (Node* node : nodes)
      if (chosen_.contains(node)) RETURN_IF_ERROR(Place(*node));
    return absl::OkStatus();
  }

 private:
  static bool IsWeighted(const Node& node) { return FindOp(node.op)->quantize == QuantRule::kWeighted; }

  // What the node reads as real numbers that are computed.
  static std::vector<size_t> Activations(const Node& node) {
    std::vector<size_t> indices;
    for (size_t i = 0; i < node.inputs.size(); ++i)
      if (node.inputs[i] != nullptr && !node.inputs[i]->is_constant() && node.inputs[i]->dtype == DType::kF32)
        indices.push_back(i);
    return indices;
  }

  // Whether the node has products or passes integers on.
  static bool HasIntegerForm(const Node& node) { return FindOp(node.op)->quantize != QuantRule::kNone; }

  absl::Status CheckPins() const {
    for (const auto& [pattern, int8] : options_.pins) {
      const auto matches = [&, &p = pattern](const auto& node) {
        return HasIntegerForm(*node) && Matches(p, node->name);
      };
      if (std::ranges::none_of(graph_.nodes(), matches))
        return absl::InvalidArgumentError(
            absl::StrCat("layers: '", pattern,
                         "' matches no node, expected the name of one with an INT8 form "
                         "after fusion, or a pattern that matches some"));
    }
    return absl::OkStatus();
  }

  // What the pins say of a node.
  std::optional<bool> PinOf(const Node& node) const {
    for (const auto& [pattern, int8] : options_.pins)
      if (Matches(pattern, node.name)) return int8;
    return std::nullopt;
  }

  // Whether the node could run in INT8: its form, its operands, its ranges and pins allow it. REQUIRES: asked
  // in topological order.
  absl::StatusOr<bool> IsAble(const Node& node) {
    if (!HasIntegerForm(node) || node.output()->dtype != DType::kF32) return false;
    const std::optional<bool> pin = PinOf(node);
    if (pin.has_value() && !*pin) return false;
    const std::vector<size_t> activations = Activations(node);
    if (activations.empty() || activations.front() != 0) return false;
    if (IsWeighted(node)) {
      const Value& weights = *node.inputs[1];
      if (!weights.is_constant() || weights.dtype != DType::kF32) return false;
      if (node.op != "Conv" && weights.rank() != 2) return false;
      if (weights.constant->count() == 0) return false;
      if (const Value* bias = node.input(2); bias != nullptr && !bias->is_constant()) return false;
    } else if (std::ranges::none_of(activations,
                                    [&](size_t i) { return ComesFromIntegers(*node.inputs[i]); })) {
      return false;
    }
    for (const size_t i : activations) {
      ASSIGN_OR_RETURN(const auto quant, QuantOf(*node.inputs[i], /*pinned=*/pin.has_value()));
      if (!quant) return false;
    }
    return true;
  }

  // A graph input (its integers come from the gather), or made by a node that could give integers.
  bool ComesFromIntegers(const Value& value) const {
    return value.producer == nullptr || able_.contains(value.producer);
  }

  bool IsWanted(const Value& value) const {
    return std::ranges::any_of(value.users, [&](const Node* user) { return chosen_.contains(user); });
  }

  // How the value is stored as integers; nullopt where it has to stay FP32. A pin overrules a comment in the
  // table, but not what the data showed.
  absl::StatusOr<std::optional<ActivationQuant>> QuantOf(const Value& value, bool pinned) {
    // Integers that pass through unchanged keep their meaning.
    const Node* producer = value.producer;
    if (producer != nullptr && FindOp(producer->op)->quantize == QuantRule::kKeepScale &&
        !producer->inputs[0]->is_constant())
      return QuantOf(*producer->inputs[0], pinned);
    if (const auto known = quants_.find(&value); known != quants_.end()) return known->second;
    ASSIGN_OR_RETURN(const TensorStats* stats, options_.table->Find(value.name));
    if (stats == nullptr && pinned) stats = &options_.table->tensors().find(value.name)->second.stats;
    if (stats == nullptr || !stats->quantizable()) return std::nullopt;
    ASSIGN_OR_RETURN(ActivationQuant quant, ChooseActivationQuant(*stats, options_.range_method));
    if (quant.dtype == DType::kS8 && !options_.signed_activations) {
      quant.dtype = DType::kU8;
      quant.params.zero_points[0] += 128;
    }
    quants_[&value] = quant;
    return quant;
  }

  absl::Status Place(Node& node) {
    for (const size_t i : Activations(node)) {
      ASSIGN_OR_RETURN(Value * stored, Stored(node.inputs[i]));
      graph_.SetInput(&node, i, stored);
    }
    if (!IsWeighted(node)) return absl::OkStatus();
    ASSIGN_OR_RETURN(const int64_t transposed, node.Int("transB", 0));
    const int axis = node.op == "Conv" || transposed != 0 ? 0 : 1;
    const Value& weights = *node.inputs[1];
    auto quantized = QuantizeWeights(weights.constant->view(), axis, options_.weight_bits);
    if (!quantized.ok()) return WithContext(quantized.status(), absl::StrCat("node '", node.name, "'"));
    const auto channels = static_cast<int64_t>(quantized->params.scales.size());
    Value* integers = AddConstant(absl::StrCat(weights.name, "_s8"), std::move(quantized->values));
    Value* scales =
        AddConstant(absl::StrCat(weights.name, "_scales"),
                    Tensor::Of<float>({channels}, std::span<const float>(quantized->params.scales)));
    graph_.SetInput(&node, 1,
                    AddNode("DequantizeLinear", absl::StrCat(weights.name, "_dequantized"),
                            {integers, scales, nullptr}, {{"axis", int64_t{axis}}}, &node));
    return absl::OkStatus();
  }

  // The first node that reads `value`. REQUIRES: one does.
  Node* FirstReader(const Value* value) const {
    const auto reads = [&](const auto& node) { return std::ranges::count(node->inputs, value) > 0; };
    return std::ranges::find_if(graph_.nodes(), reads)->get();
  }

  // `value` through a pair of quantizers, which all its readers among nodes share. REQUIRES: there are some.
  absl::StatusOr<Value*> Stored(Value* value) {
    if (value->producer != nullptr && value->producer->op == "DequantizeLinear") return value;
    ASSIGN_OR_RETURN(const auto quant, QuantOf(*value, /*pinned=*/true));
    if (!quant)
      return absl::InternalError(absl::StrCat("value '", value->name, "' has no range, expected one"));
    Value* scale =
        AddConstant(absl::StrCat(value->name, "_scale"), Tensor::Of<float>({}, {quant->params.scale()}));
    const auto zero = quant->params.zero_point();
    Tensor zero_tensor = quant->dtype == DType::kU8 ? Tensor::Of<uint8_t>({}, {static_cast<uint8_t>(zero)})
                                                    : Tensor::Of<int8_t>({}, {static_cast<int8_t>(zero)});
    Value* zero_point = AddConstant(absl::StrCat(value->name, "_zero_point"), std::move(zero_tensor));
    const std::vector<Node*> readers = value->users;
    Node* first = FirstReader(value);
    Value* integers = AddNode("QuantizeLinear", absl::StrCat(value->name, "_quantized"),
                              {value, scale, zero_point}, {}, first);
    Value* reals = AddNode("DequantizeLinear", absl::StrCat(value->name, "_dequantized"),
                           {integers, scale, zero_point}, {}, first);
    integers->dtype = quant->dtype;
    for (Value* made : {integers, reals}) {
      made->dims = value->dims;
      made->layout = value->layout;
    }
    quants_[reals] = *quant;  // for what passes these integers on
    for (Node* reader : readers)
      for (size_t i = 0; i < reader->inputs.size(); ++i)
        if (reader->inputs[i] == value) graph_.SetInput(reader, i, reals);
    return reals;
  }

  Value* AddConstant(const std::string& name, Tensor tensor) {
    return graph_.AddConstant(graph_.UniqueValueName(name),
                              std::make_shared<const Tensor>(std::move(tensor)));
  }

  Value* AddNode(const char* op, const std::string& name, std::vector<Value*> inputs,
                 std::map<std::string, Attr> attrs, Node* before) {
    return graph_
        .AddNode(op, graph_.UniqueNodeName(name), std::move(inputs), {graph_.UniqueValueName(name)},
                 std::move(attrs), before)
        ->output();
  }

  Graph& graph_;
  const PassOptions& options_;
  std::unordered_set<const Node*> able_, chosen_;
  std::map<const Value*, ActivationQuant> quants_;
};

}  // namespace

absl::Status PlaceQuantizers(Graph& graph, const PassOptions& options) {
  if (options.table == nullptr) return absl::OkStatus();
  return Placer(graph, options).Run();
}

}  // namespace hachi
