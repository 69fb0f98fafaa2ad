#include <algorithm>
#include <unordered_map>

#include "engine/ops/op.h"
#include "engine/passes/match.h"
#include "engine/passes/passes.h"

namespace hachi {
namespace {

// The node that makes `value` and could do more to it before it is stored; null: there is none.
Node* FusingMakerOf(const Graph& graph, const Value* value) {
  if (value->producer == nullptr || value->users.size() != 1 || graph.IsOutput(value)) return nullptr;
  const OpDef* op = FindOp(value->producer->op);
  return op != nullptr && op->fuses_post_ops ? value->producer : nullptr;
}

using Kind = PostOp::Kind;

// Kernels take each kind of operation with one set of parameters, and one residual. What is linear they need
// where a residual, or a hard sigmoid, would.
bool Accepts(const Node& maker, const PostOp& post_op) {
  return std::ranges::all_of(maker.post_ops, [&](const PostOp& own) {
    if (own.kind == Kind::kLinear && (post_op.kind == Kind::kAdd || post_op.kind == Kind::kHardSigmoid))
      return false;
    if (post_op.kind == Kind::kLinear && own.kind == Kind::kHardSigmoid) return false;
    return own.kind != post_op.kind || (own == post_op && own.kind != Kind::kAdd);
  });
}

// Whether `node` is arithmetic with one number behind a product that takes it; then it is the product's.
bool FuseLinear(Graph& graph, Node* node) {
  const auto linear = LinearOf(*node);
  if (!linear || linear->value->dims != node->output()->dims) return false;
  Node* maker = FusingMakerOf(graph, linear->value);
  if (maker == nullptr || FindOp(maker->op)->quantize != QuantRule::kWeighted) return false;
  if (maker->output()->dtype != DType::kF32) return false;
  PostOp post_op{Kind::kLinear, linear->factor, linear->addend};
  if (!maker->post_ops.empty() && maker->post_ops.back().kind == Kind::kLinear) {
    const PostOp& first = maker->post_ops.back();
    post_op.alpha = first.alpha * linear->factor;
    post_op.beta = first.beta * linear->factor + linear->addend;
    maker->post_ops.pop_back();
  } else if (!Accepts(*maker, post_op)) {
    return false;
  }
  maker->post_ops.push_back(post_op);
  Absorb(graph, maker, node);
  return true;
}

}  // namespace

absl::Status FusePostOps(Graph& graph, const PassOptions& /*options*/) {
  std::unordered_map<const Node*, size_t> position;
  for (Node* node : graph.NodeList()) position.emplace(node, position.size());
  const auto defined_at = [&](const Value* value) {
    return value->producer == nullptr ? size_t{0} : position.at(value->producer) + 1;
  };

  // Moves `node` behind `maker`.
  const auto fuse = [&](Node* node, Node* maker, const PostOp& post_op) {
    maker->post_ops.push_back(post_op);
    // Activations come with none; an Add may have been given some.
    maker->post_ops.insert(maker->post_ops.end(), node->post_ops.begin(), node->post_ops.end());
    Absorb(graph, maker, node);
  };

  for (Node* node : graph.NodeList()) {
    const OpDef* op = FindOp(node->op);
    if (op->as_post_op != nullptr) {
      Node* maker = FusingMakerOf(graph, node->inputs[0]);
      if (maker == nullptr) continue;
      const auto post_op = op->as_post_op(*node);
      if (post_op.ok() && Accepts(*maker, *post_op)) fuse(node, maker, *post_op);
      continue;
    }
    if (FuseLinear(graph, node)) continue;
    if (node->op != "Add" || node->inputs[0]->dims != node->inputs[1]->dims) continue;
    size_t best = 2;
    for (const size_t side : {0, 1}) {
      const Value* residual = node->inputs[1 - side];
      const Node* maker = FusingMakerOf(graph, node->inputs[side]);
      if (maker == nullptr || residual->is_constant() || residual->dtype != DType::kF32) continue;
      const OpDef* maker_op = FindOp(maker->op);
      if (maker_op->residual_input < 0 || !maker->inputs[1]->is_constant()) continue;
      if (defined_at(residual) > position.at(maker)) continue;
      if (Accepts(*maker, PostOp{.kind = Kind::kAdd})) best = side;
    }
    if (best == 2) continue;
    Node* maker = node->inputs[best]->producer;
    const int operand = FindOp(maker->op)->residual_input;
    graph.SetInput(maker, static_cast<size_t>(operand), node->inputs[1 - best]);
    fuse(node, maker, PostOp{.kind = Kind::kAdd, .operand = operand});
  }
  return absl::OkStatus();
}

}  // namespace hachi
