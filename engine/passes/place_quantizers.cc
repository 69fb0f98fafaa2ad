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
  Placer(Graph& graph, const PassOptions& options)
      : graph_(graph), options_(options), ranges_(*options.table, options.signed_activations) {}

  absl::Status Run(const Decisions& decisions) {
    for (Node* node : graph_.NodeList())
      if (const Decision* decision = decisions.Find(node->name);
          decision != nullptr && decision->precision == Precision::kInt8)
        RETURN_IF_ERROR(Place(*node, decision->range));
    return absl::OkStatus();
  }

 private:
  absl::Status Place(Node& node, RangeMethod range) {
    for (const size_t i : Activations(node)) {
      ASSIGN_OR_RETURN(Value * stored, Stored(node.inputs[i], range));
      graph_.SetInput(&node, i, stored);
    }
    if (FindOp(node.op)->quantize != QuantRule::kWeighted) return absl::OkStatus();
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
  absl::StatusOr<Value*> Stored(Value* value, RangeMethod range) {
    if (value->producer != nullptr && value->producer->op == "DequantizeLinear") return value;
    ASSIGN_OR_RETURN(const auto quant, ranges_.Of(*value, range, /*overrule=*/true));
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
    ranges_.Note(reals, *quant);  // for what passes these integers on
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
  ActivationRanges ranges_;
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
