#include <algorithm>
#include <vector>

#include "absl/strings/str_cat.h"
#include "engine/base/status_macros.h"
#include "engine/decide/rules.h"
#include "engine/ops/op.h"
#include "engine/passes/passes.h"
#include "engine/quant/weights.h"

namespace hachi {
namespace {

class Placer {
 public:
  Placer(Graph& graph, const PassOptions& options) : graph_(graph), options_(options) {}

  // Follows the decisions. REQUIRES: there is a table.
  absl::Status Run(const Decisions& decisions) {
    ActivationRanges ranges(*options_.table, options_.signed_activations);
    for (Node* node : graph_.NodeList())
      if (const Decision* decision = decisions.Find(node->name);
          decision != nullptr && decision->precision == Precision::kInt8)
        RETURN_IF_ERROR(Place(*node, decision->range, ranges));
    return absl::OkStatus();
  }

 private:
  absl::Status Place(Node& node, RangeMethod range, ActivationRanges& ranges) {
    for (const size_t i : Activations(node)) {
      ASSIGN_OR_RETURN(Value * stored, Stored(node.inputs[i], range, ranges));
      graph_.SetInput(&node, i, stored);
    }
    const OpDef& op = *FindOp(node.op);
    const Value& weights = *node.inputs[1 % node.inputs.size()];
    if (op.quantize != QuantRule::kWeighted || weights.integers != nullptr) return absl::OkStatus();
    auto quantized = QuantizeWeights(weights.constant->view(), static_cast<int>(op.channel_axis(node)),
                                     options_.weight_bits);
    if (!quantized.ok()) return WithContext(quantized.status(), absl::StrCat("node '", node.name, "'"));
    Value* own =
        graph_.AddConstant(graph_.UniqueValueName(absl::StrCat(weights.name, "_s8")), weights.constant);
    own->integers =
        std::make_shared<const ConstantIntegers>(std::move(quantized->values), std::move(quantized->params));
    graph_.SetInput(&node, 1, own);
    return absl::OkStatus();
  }

  // The first node that reads `value`. REQUIRES: one does.
  Node* FirstReader(const Value* value) const {
    const auto reads = [&](const auto& node) { return std::ranges::count(node->inputs, value) > 0; };
    return std::ranges::find_if(graph_.nodes(), reads)->get();
  }

  // `value` through a pair of quantizers, which all its readers among nodes share. REQUIRES: there are some.
  absl::StatusOr<Value*> Stored(Value* value, RangeMethod range, ActivationRanges& ranges) {
    if (value->producer != nullptr && value->producer->op == "DequantizeLinear") return value;
    ASSIGN_OR_RETURN(const auto quant, ranges.Of(*value, range, /*overrule=*/true));
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
    ranges.Note(reals, *quant);  // for what passes these integers on
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
};

}  // namespace

absl::Status PlaceQuantizers(Graph& graph, const PassOptions& options) {
  if (options.table == nullptr) return absl::OkStatus();
  ASSIGN_OR_RETURN(const Decisions decisions,
                   DecideByRules(graph, {.table = *options.table,
                                         .range = options.range_method,
                                         .signed_activations = options.signed_activations,
                                         .pins = options.pins,
                                         .given = options.given,
                                         .is_part = options.is_part}));
  if (options.decided != nullptr) *options.decided = decisions;
  return Placer(graph, options).Run(decisions);
}

}  // namespace hachi
