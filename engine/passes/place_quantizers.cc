#include <algorithm>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "engine/base/status_macros.h"
#include "engine/cpu/team.h"
#include "engine/decide/rules.h"
#include "engine/ops/op.h"
#include "engine/passes/decide_int8.h"
#include "engine/passes/integers.h"
#include "engine/passes/match.h"
#include "engine/passes/passes.h"
#include "engine/passes/repair.h"

namespace hachi {
namespace {

class Placer {
 public:
  // REQUIRES: there is a table.
  Placer(Graph& graph, const PassOptions& options, const Decisions& decisions, ActivationRanges ranges)
      : graph_(graph),
        options_(options),
        decisions_(decisions),
        ranges_(std::move(ranges)),
        repairer_(graph, options, decisions, ranges_) {}

  absl::Status Run() {
    RETURN_IF_ERROR(repairer_.Equalize());
    std::vector<Product> products;
    for (Node* node : graph_.NodeList()) {
      if (!IsInt8(*node)) continue;
      const RangeMethod range = decisions_.Find(node->name)->range;
      RETURN_IF_ERROR(StoreInputs(*node, range));
      if (FindOp(node->op)->quantize != QuantRule::kWeighted || node->inputs[1]->integers != nullptr)
        continue;
      ASSIGN_OR_RETURN(auto error, repairer_.BiasErrorOf(*node, RealsBehind(*node->inputs[0]), range));
      products.push_back({node, nullptr, std::move(error), absl::OkStatus()});
    }
    ParallelForEach(static_cast<int64_t>(products.size()),
                    [&](int64_t i) { Quantize(products[static_cast<size_t>(i)]); });
    for (Product& product : products) {
      RETURN_IF_ERROR(product.status);
      graph_.SetInput(product.node, 1,
                      AddQuantized(graph_, *product.node->inputs[1], std::move(product.integers)));
      if (product.error) repairer_.CorrectBias(*product.node, product.error->found);
    }
    return absl::OkStatus();
  }

 private:
  // A node whose weights become integers.
  struct Product {
    Node* node;
    std::shared_ptr<const ConstantIntegers> integers;
    std::optional<Repairer::BiasError> error;
    absl::Status status;
  };

  // Changes nothing but the product: of many at once.
  void Quantize(Product& product) const {
    const Node& node = *product.node;
    auto integers = QuantizedIntegers(
        node, *node.inputs[1], static_cast<int>(FindOp(node.op)->channel_axis(node)), options_.weight_bits);
    product.status = integers.status();
    if (!integers.ok()) return;
    product.integers = *std::move(integers);
    if (product.error) product.error->Find(*product.integers);
  }

  absl::Status StoreInputs(Node& node, RangeMethod range) {
    for (const size_t i : Activations(node)) {
      if (repairer_.StaysReal(node, i)) continue;
      ASSIGN_OR_RETURN(Value * stored, Stored(node.inputs[i], range));
      graph_.SetInput(&node, i, stored);
    }
    return absl::OkStatus();
  }

  // What went into the pair of quantizers that makes `value`; itself where none does.
  static const Value& RealsBehind(const Value& value) {
    const Node* reals = value.producer;
    if (reals == nullptr || reals->op != "DequantizeLinear") return value;
    const Node* integers = reals->inputs[0]->producer;
    return integers != nullptr && integers->op == "QuantizeLinear" ? *integers->inputs[0] : value;
  }

  // The first node that reads `value`. REQUIRES: one does.
  Node* FirstReader(const Value* value) const {
    const auto reads = [&](const auto& node) { return std::ranges::count(node->inputs, value) > 0; };
    return std::ranges::find_if(graph_.nodes(), reads)->get();
  }

  // The channels of a value that a convolution makes and nobody but depthwise convolutions reads, all in
  // INT8; 0: it is none.
  int64_t ChannelsThatNeverMeet(const Value& value) const {
    const Node* maker = value.producer;
    if (maker == nullptr || maker->op != "Conv" || !IsInt8(*maker) || graph_.IsOutput(&value)) return 0;
    if (ResidualOf(maker->post_ops) >= 0) return 0;
    const auto reads = [&](const Node* user) {
      return IsDepthwise(*user) && IsInt8(*user) && user->inputs[0] == &value &&
             std::ranges::count(user->inputs, &value) == 1;
    };
    if (!std::ranges::all_of(value.users, reads)) return 0;
    return (*value.dims)[1].constant().value_or(0);
  }

  bool IsInt8(const Node& node) const { return decisions_.IsInt8(node.name); }

  // Whether a reader keeps the real numbers of a value that is stored as integers for others: they are there
  // anyhow, as what the model answers or what its maker makes, and it has no use for integers.
  bool KeepsReal(const Value& value, const Node& reader, size_t i) const {
    if (value.producer == nullptr || (IsInt8(*value.producer) && !graph_.IsOutput(&value))) return false;
    return !IsInt8(reader) || repairer_.StaysReal(reader, i);
  }

  // `value` through a pair of quantizers, which its readers among nodes share. REQUIRES: there are some.
  absl::StatusOr<Value*> Stored(Value* value, RangeMethod range) {
    if (value->producer != nullptr && value->producer->op == "DequantizeLinear") return value;
    ASSIGN_OR_RETURN(auto quant, ranges_.Of(*value, range, /*overrule=*/true));
    if (!quant)
      return absl::InternalError(absl::StrCat("value '", value->name, "' has no range, expected one"));
    if (const int64_t channels = ChannelsThatNeverMeet(*value); channels > 0) {
      ASSIGN_OR_RETURN(auto by_channel, ranges_.ByChannel(*value, channels, *quant));
      if (by_channel) quant = std::move(by_channel);
    }
    const QuantParams& params = quant->params;
    const Shape shape = params.per_tensor() ? Shape() : Shape{static_cast<int64_t>(params.scales.size())};
    Value* scale = AddConstant(absl::StrCat(value->name, "_scale"),
                               Tensor::Of<float>(shape, std::span<const float>(params.scales)));
    Tensor zeros(quant->dtype, shape);
    for (size_t i = 0; i < params.zero_points.size(); ++i)
      zeros.bytes()[i] = static_cast<std::byte>(params.zero_points[i]);
    Value* zero_point = AddConstant(absl::StrCat(value->name, "_zero_point"), std::move(zeros));
    std::map<std::string, Attr> attrs;
    if (!params.per_tensor()) attrs["axis"] = int64_t{params.axis};
    const std::vector<Node*> readers = value->users;
    Node* first = FirstReader(value);
    Value* integers = AddNode("QuantizeLinear", absl::StrCat(value->name, "_quantized"),
                              {value, scale, zero_point}, attrs, first);
    Value* reals = AddNode("DequantizeLinear", absl::StrCat(value->name, "_dequantized"),
                           {integers, scale, zero_point}, attrs, first);
    integers->dtype = quant->dtype;
    for (Value* made : {integers, reals}) {
      made->dims = value->dims;
      made->layout = value->layout;
    }
    ranges_.Note(reals, *quant);  // for what passes these integers on
    for (Node* reader : readers)
      for (size_t i = 0; i < reader->inputs.size(); ++i)
        if (reader->inputs[i] == value && !KeepsReal(*value, *reader, i)) graph_.SetInput(reader, i, reals);
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
  const Decisions& decisions_;
  ActivationRanges ranges_;
  Repairer repairer_;
};

// Recurrent nodes whose weights outgrow the second cache multiply integers: reading weights is what their
// steps wait for. Smaller ones would only lose accuracy. What they read is quantized as it comes.
void QuantizeRecurrent(Graph& graph, const PassOptions& options) {
  constexpr size_t kSecondCache = 1 << 20;
  if (options.weight_bits != 8 || (options.table == nullptr && !options.dynamic)) return;
  for (Node* node : graph.NodeList()) {
    if (!IsRecurrent(*node) || !node->inputs[2]->is_constant()) continue;
    const auto could = [&] { return node->inputs[2]->constant->bytes().size() > kSecondCache; };
    if (DecideInt8(options, *node, could)) node->attrs["int8"] = int64_t{1};
  }
}

}  // namespace

absl::Status PlaceQuantizers(Graph& graph, const PassOptions& options) {
  QuantizeRecurrent(graph, options);
  if (options.table == nullptr) return absl::OkStatus();
  ActivationRanges ranges(*options.table, options.signed_activations);
  ranges.ChooseAhead(graph, options.range_method);
  ASSIGN_OR_RETURN(const Decisions decisions, DecideByRules(graph,
                                                            {.table = *options.table,
                                                             .range = options.range_method,
                                                             .pins = options.pins,
                                                             .given = options.given,
                                                             .is_part = options.is_part},
                                                            ranges));
  if (options.decided != nullptr) *options.decided = decisions;
  return Placer(graph, options, decisions, std::move(ranges)).Run();
}

}  // namespace hachi
