#include <algorithm>
#include <optional>
#include <vector>

#include "engine/base/status_macros.h"
#include "engine/ops/op.h"
#include "engine/passes/match.h"
#include "engine/passes/passes.h"

namespace hachi {
namespace {

// An operand of a head's products: where it comes from, how that lies, and what it is multiplied by.
struct Operand {
  Value* value;
  bool tokens_first = false;  // [batch, positions, heads, features]
  float factor = 1;
};

// What a Mul or Div by one number multiplies; the value itself where it is no such node.
Value* Unscaled(Value* value, float& factor) {
  const Node* node = value->producer;
  const auto scaled = node == nullptr || value->users.size() != 1 ? std::nullopt : ScaledBy(*node);
  if (!scaled) return value;
  factor *= scaled->factor;
  return scaled->value;
}

// What a Transpose of that order turns; null: there is none.
Value* Turned(const Value* value, const AxisNumbers& order) {
  const Node* node = MakerOf(value, "Transpose");
  if (node == nullptr) return nullptr;
  const auto perm = node->Ints("perm", {});
  return perm.ok() && *perm == order ? node->inputs[0] : nullptr;
}

// [batch, heads, positions, features], perhaps out of tokens.
Operand HeadsOf(Value* value) {
  Operand operand{.value = value};
  operand.value = Unscaled(value, operand.factor);
  if (Value* tokens = Turned(operand.value, {0, 2, 1, 3})) {
    operand.value = tokens;
    operand.tokens_first = true;
  }
  return operand;
}

// The keys behind [batch, heads, features, positions].
std::optional<Operand> KeysOf(Value* value) {
  float factor = 1;
  value = Unscaled(value, factor);
  if (Value* tokens = Turned(value, {0, 2, 3, 1})) return Operand{tokens, true, factor};
  Value* heads = Turned(value, {0, 1, 3, 2});
  if (heads == nullptr) return std::nullopt;
  Operand operand = HeadsOf(heads);
  operand.factor *= factor;
  return operand;
}

class Fuser {
 public:
  Fuser(Graph& graph, const PassOptions& options) : graph_(graph), options_(options) {}

  void Fuse(Node& softmax) {
    const auto axis = softmax.Int("axis", -1);
    const auto rank = static_cast<int64_t>(softmax.inputs[0]->rank());
    if (!axis.ok() || (*axis != -1 && *axis != rank - 1) || rank != 4 || !softmax.post_ops.empty()) return;
    if (softmax.inputs[0]->dtype != DType::kF32 || softmax.inputs[0]->quant) return;
    Node* context = OnlyReader(graph_, softmax.output(), "MatMul");
    if (context == nullptr || context->inputs.size() != 2 || context->inputs[0] != softmax.output()) return;
    Value* mask = nullptr;
    Node* product = ScoresOf(softmax, mask);
    if (product == nullptr || !IsWanted(*product) || !IsWanted(*context)) return;
    float scale = 1;
    for (const PostOp& post_op : product->post_ops) scale *= post_op.alpha;

    const Operand q = HeadsOf(product->inputs[0]), v = HeadsOf(context->inputs[1]);
    const auto k = KeysOf(product->inputs[1]);
    if (!k || v.factor != 1) return;
    for (const Value* value : {q.value, k->value, v.value})
      if (value->rank() != 4 || value->dtype != DType::kF32 || value->is_constant()) return;
    Node* last = context;
    Node* turn = OnlyReader(graph_, context->output(), "Transpose");
    const bool out_of_heads = turn != nullptr && Turned(turn->output(), {0, 2, 1, 3}) != nullptr;
    if (out_of_heads) last = turn;
    std::vector<Value*> inputs = {q.value, k->value, v.value};
    if (mask != nullptr) inputs.push_back(mask);
    Become(graph_, last, "FusedAttention", inputs,
           {{"scale", scale * q.factor * k->factor},
            {"q_tokens_first", int64_t{q.tokens_first}},
            {"k_tokens_first", int64_t{k->tokens_first}},
            {"v_tokens_first", int64_t{v.tokens_first}},
            {"y_tokens_first", int64_t{out_of_heads}}});
  }

 private:
  // The product whose scores a softmax weighs, once a mask is added; null: there is none.
  Node* ScoresOf(const Node& softmax, Value*& mask) const {
    Value* scores = softmax.inputs[0];
    if (Node* add = MakerOf(scores, "Add");
        add != nullptr && OnlyReader(graph_, scores, "Softmax") != nullptr) {
      for (const size_t side : {0, 1}) {
        Value* other = add->inputs[1 - side];
        if (!IsScores(*add->inputs[side]) || !IsMask(*other, *scores)) continue;
        if (OnlyReader(graph_, add->inputs[side], "Add") != add) continue;
        mask = other;
        return add->inputs[side]->producer;
      }
      return nullptr;
    }
    return IsScores(*scores) && OnlyReader(graph_, scores, "Softmax") != nullptr ? scores->producer : nullptr;
  }

  // Whether it is a product that is scaled, and no more.
  static bool IsScores(const Value& value) {
    const Node* node = value.producer;
    const auto scales = [](const PostOp& post_op) {
      return post_op.kind == PostOp::Kind::kLinear && post_op.beta == 0.0f;
    };
    return node != nullptr && node->op == "MatMul" && node->inputs.size() == 2 &&
           std::ranges::all_of(node->post_ops, scales);
  }

  // Whether it is one for each key, and broadcasts along the other axes.
  static bool IsMask(const Value& mask, const Value& scores) {
    const size_t rank = mask.rank();
    if (mask.dtype != DType::kF32 || rank == 0 || rank > 4 || mask.dims->back() != scores.dims->back())
      return false;
    for (size_t i = 0; i + 1 < rank; ++i)
      if (const Dim& dim = (*mask.dims)[i]; dim != Dim(1) && dim != (*scores.dims)[4 - rank + i])
        return false;
    return true;
  }

  // Whether nothing was decided of the product by itself.
  bool IsWanted(const Node& node) const {
    if (options_.given != nullptr && options_.given->Find(node.name) != nullptr) return false;
    return WantedPrecision(options_, node.name) == Precision::kInt8;
  }

  Graph& graph_;
  const PassOptions& options_;
};

}  // namespace

absl::Status FuseAttention(Graph& graph, const PassOptions& options) {
  // Its kernel multiplies integers, and needs VNNI.
  const bool int8 = options.table != nullptr || options.dynamic;
  if (!int8 || options.weight_bits != 8) return absl::OkStatus();
  for (Node* node : graph.NodeList())
    if (node->op == "Softmax") Fuser(graph, options).Fuse(*node);
  return absl::OkStatus();
}

}  // namespace hachi
