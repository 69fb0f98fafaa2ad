#include <algorithm>
#include <cmath>
#include <memory>
#include <numbers>
#include <optional>
#include <vector>

#include "absl/strings/str_cat.h"
#include "engine/base/status_macros.h"
#include "engine/passes/match.h"
#include "engine/passes/passes.h"

namespace hachi {
namespace {

// x where `value` is x + number.
Value* WithoutAddend(const Value* value, double number) {
  const Node* add = MakerOf(value, "Add");
  if (add == nullptr) return nullptr;
  for (const size_t side : {0, 1})
    if (IsScalar(add->inputs[side], number)) return add->inputs[1 - side];
  return nullptr;
}

// Whether `value` is min(max(x + 3, 0), 6).
bool IsRampOf(const Value* value, const Value* x) {
  const Node* clip = MakerOf(value, "Clip");
  return clip != nullptr && clip->input(1) != nullptr && clip->input(2) != nullptr &&
         IsScalar(clip->inputs[1], 0.0) && IsScalar(clip->inputs[2], 6.0) &&
         WithoutAddend(clip->inputs[0], 3.0) == x;
}

bool IsHardSigmoidOf(const Value* value, const Value* x) {
  if (const Value* ramp = UnscaledBy(value, 1.0 / 6); ramp != nullptr && IsRampOf(ramp, x)) return true;
  const Node* gate = MakerOf(value, "HardSigmoid");
  if (gate == nullptr || gate->inputs[0] != x) return false;
  const auto alpha = gate->Float("alpha", 0.2f), beta = gate->Float("beta", 0.5f);
  return alpha.ok() && beta.ok() && std::abs(*alpha - 1.0f / 6) < 1e-5f && std::abs(*beta - 0.5f) < 1e-5f;
}

// alpha where `value` is sigmoid(alpha × x).
std::optional<float> SigmoidFactor(const Value* value, const Value* x) {
  const Node* sigmoid = MakerOf(value, "Sigmoid");
  if (sigmoid == nullptr) return std::nullopt;
  const Value* in = sigmoid->inputs[0];
  if (in == x) return 1.0f;
  const Node* mul = MakerOf(in, "Mul");
  const Value* factor = mul == nullptr ? nullptr : OtherInput(*mul, x);
  return factor == nullptr ? std::nullopt : ScalarOf(factor);
}

bool IsMishGateOf(const Value* value, const Value* x) {
  const Node* tanh = MakerOf(value, "Tanh");
  const Node* softplus = tanh == nullptr ? nullptr : MakerOf(tanh->inputs[0], "Softplus");
  return softplus != nullptr && softplus->inputs[0] == x;
}

// What a value is the product of, in whatever order it is multiplied: numbers, as one, and values. `whole` is
// taken for one, whatever made it.
struct Factors {
  double number = 1;
  std::vector<Value*> values;
  int looked_into = 0;  // operators, so that no chain of them in a file costs more than a pattern does
};

void AddFactors(Value* value, const Value* whole, Factors& factors) {
  constexpr int kMostOperators = 8;  // more than any pattern has
  if (const auto number = ScalarOf(value)) {
    factors.number *= static_cast<double>(*number);
    return;
  }
  if (value == whole) return factors.values.push_back(value);
  if (factors.looked_into++ >= kMostOperators) return factors.values.push_back(value);
  if (const Node* mul = MakerOf(value, "Mul")) {
    for (Value* input : mul->inputs) AddFactors(input, whole, factors);
    return;
  }
  const Node* div = MakerOf(value, "Div");
  if (const auto divisor = div == nullptr ? std::nullopt : ScalarOf(div->inputs[1]);
      divisor && *divisor != 0.0f) {
    factors.number /= static_cast<double>(*divisor);
    return AddFactors(div->inputs[0], whole, factors);
  }
  const Node* pow = MakerOf(value, "Pow");
  const bool cubes = pow != nullptr && IsScalar(pow->inputs[1], 3.0);
  factors.values.insert(factors.values.end(), cubes ? 3 : 1, cubes ? pow->inputs[0] : value);
}

// Whether `value` is number × x³.
bool IsCubeOf(Value* value, double number, const Value* x) {
  Factors factors;
  AddFactors(value, x, factors);
  return std::abs(factors.number - number) <= 1e-5 * number && factors.values.size() == 3 &&
         std::ranges::all_of(factors.values, [&](const Value* v) { return v == x; });
}

// x where `value` is 1 + tanh(sqrt(2 / pi) × (x + 0.044715 x³)).
Value* GeluTanhGateOf(const Value* value) {
  const Value* gate = WithoutAddend(value, 1.0);
  const Node* tanh = gate == nullptr ? nullptr : MakerOf(gate, "Tanh");
  const Value* sum =
      tanh == nullptr ? nullptr : UnscaledBy(tanh->inputs[0], std::sqrt(2 * std::numbers::inv_pi));
  const Node* add = sum == nullptr ? nullptr : MakerOf(sum, "Add");
  if (add == nullptr) return nullptr;
  for (const size_t side : {0, 1}) {
    Value* x = add->inputs[1 - side];
    if (IsCubeOf(add->inputs[side], 0.044715, x)) return x;
  }
  return nullptr;
}

// x where `value` is x / 2 × the gate; null: it is not.
Value* GeluTanhOf(Value* value) {
  Factors factors;
  AddFactors(value, nullptr, factors);
  for (const Value* gate : factors.values) {
    Value* x = GeluTanhGateOf(gate);
    if (x == nullptr) continue;
    Factors of_x;
    AddFactors(value, x, of_x);
    const bool one_each = of_x.values.size() == 2 && std::ranges::count(of_x.values, x) == 1 &&
                          std::ranges::count(of_x.values, gate) == 1;
    if (one_each && std::abs(of_x.number - 0.5) <= 1e-5) return x;
  }
  return nullptr;
}

// `mul` is x times a function of x that has a name of its own.
void FuseGate(Graph& graph, Node* mul) {
  for (const size_t side : {0, 1}) {
    Value *x = mul->inputs[side], *gate = mul->inputs[1 - side];
    if (x->dims != mul->output()->dims) continue;
    if (const auto alpha = SigmoidFactor(gate, x)) {
      std::map<std::string, Attr> attrs;
      if (*alpha != 1.0f) attrs["alpha"] = *alpha;
      return Become(graph, mul, "Swish", {x}, std::move(attrs));
    }
    if (IsHardSigmoidOf(gate, x)) return Become(graph, mul, "HardSwish", {x});
    if (IsMishGateOf(gate, x)) return Become(graph, mul, "Mish", {x});
  }
}

// `node` is (x × ramp(x)) ÷ 6, or x ÷ 2 × gate(x) in whatever order.
void FuseScaled(Graph& graph, Node* node) {
  if (const Value* product = UnscaledBy(node->output(), 1.0 / 6)) {
    const Node* mul = MakerOf(product, "Mul");
    if (mul == nullptr) return;
    for (const size_t side : {0, 1})
      if (IsRampOf(mul->inputs[1 - side], mul->inputs[side]))
        return Become(graph, node, "HardSwish", {mul->inputs[side]});
  } else if (Value* x = GeluTanhOf(node->output()); x != nullptr && x->dims == node->output()->dims) {
    Become(graph, node, "Gelu", {x}, {{"approximate", std::string("tanh")}});
  }
}

// `node` is the larger or the smaller of x and a number.
void FuseBound(Graph& graph, Node* node) {
  if (node->inputs.size() != 2) return;
  for (const size_t side : {0, 1}) {
    const auto number = ScalarOf(node->inputs[side]);
    Value* x = node->inputs[1 - side];
    if (!number || x->dims != node->output()->dims) continue;
    Value* bound = graph.AddConstant(graph.UniqueValueName(absl::StrCat(node->name, "_bound")),
                                     std::make_shared<const Tensor>(Tensor::Of<float>({}, {*number})));
    if (node->op == "Max") return Become(graph, node, "Clip", {x, bound});
    return Become(graph, node, "Clip", {x, nullptr, bound});
  }
}

}  // namespace

absl::Status FuseActivations(Graph& graph, const PassOptions& /*options*/) {
  for (Node* node : graph.NodeList()) {
    const bool real = !node->outputs.empty() && node->output()->dtype == DType::kF32;
    if (node->op == "Mul" && real && node->post_ops.empty()) FuseGate(graph, node);
    if ((node->op == "Mul" || node->op == "Div") && real && node->post_ops.empty()) FuseScaled(graph, node);
    if ((node->op == "Max" || node->op == "Min") && real && node->post_ops.empty()) FuseBound(graph, node);
  }
  return absl::OkStatus();
}

}  // namespace hachi
