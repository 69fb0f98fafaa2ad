#include <map>

#include "absl/strings/str_cat.h"
#include "engine/ops/op.h"
#include "engine/passes/passes.h"

namespace hachi {
namespace {

// Whether the value's bytes are the same in both layouts, for any values of the symbols.
bool SameBytes(const Value& value, const Layout& a, const Layout& b) {
  Shape shape;
  for (const Dim& dim : *value.dims) shape.push_back(dim.constant().value_or(2));
  return a.SameBytes(b, shape);
}

// The layout that a node's inputs of the output's rank, and its output, have.
Layout LayoutOf(const Node& node) {
  const OpDef* op = FindOp(node.op);
  const size_t rank = node.output()->rank();
  if (op->channels_last && rank >= 3) return Layout::ChannelsLast(rank);
  if (op->layout_agnostic)
    for (const Value* input : node.inputs)
      if (input != nullptr && !input->is_constant() && input->rank() == rank && !input->layout.is_row_major())
        return input->layout;
  return Layout();
}

// The layout that the nodes behind a graph input want it in; those that take any pass it on.
Layout WishOf(const Value& value, int depth = 16) {
  for (const Node* user : value.users) {
    const OpDef* op = FindOp(user->op);
    if (depth == 0 || user->output()->rank() != value.rank()) continue;
    if (op->channels_last && value.rank() >= 3) return Layout::ChannelsLast(value.rank());
    if (op->layout_agnostic)
      if (Layout wish = WishOf(*user->output(), depth - 1); !wish.is_row_major()) return wish;
  }
  return Layout();
}

}  // namespace

absl::Status AssignLayouts(Graph& graph, const PassOptions& /*options*/) {
  std::map<const Value*, Value*> reordered;  // into channels-last or back: a value has one other layout
  std::map<const Value*, bool> settled;      // graph inputs that a reader has seen
  for (Value* input : graph.inputs())
    if (input->users.size() == 1 && input->users[0]->op == "QuantizeLinear")
      if (input->layout = WishOf(*input); !input->layout.is_row_major()) settled[input] = true;
  for (Node* node : graph.NodeList()) {
    const Layout layout = LayoutOf(*node);
    const bool agnostic = FindOp(node->op)->layout_agnostic;
    for (size_t i = 0; i < node->inputs.size(); ++i) {
      Value* input = node->inputs[i];
      if (input == nullptr || input->is_constant()) continue;
      const bool same_rank = input->rank() == node->output()->rank();
      if (agnostic && !same_rank) continue;  // broadcast: any layout will do
      const Layout wanted = same_rank ? layout : Layout();
      const bool fresh = input->producer == nullptr && settled.emplace(input, true).second;
      if (fresh || SameBytes(*input, input->layout, wanted)) {
        // Gathered so, or another name for the same bytes. Names that kernels know by are channels-last.
        if (!wanted.is_row_major()) input->layout = wanted;
        continue;
      }
      Value*& other = reordered[input];
      if (other == nullptr) {
        const std::string name =
            absl::StrCat(input->name, "_", wanted.is_row_major() ? "rows" : "channels_last");
        Node* reorder = graph.AddNode("Reorder", graph.UniqueNodeName(name), {input},
                                      {graph.UniqueValueName(name)}, {}, node);
        other = reorder->output();
        other->layout = wanted;
        other->dims = input->dims;
        other->dtype = input->dtype;
      }
      graph.SetInput(node, i, other);
    }
    for (Value* output : node->outputs)
      if (output->rank() == node->output()->rank()) output->layout = layout;
  }
  return absl::OkStatus();
}

}  // namespace hachi
