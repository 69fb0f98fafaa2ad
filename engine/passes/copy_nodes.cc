#include "engine/passes/copy_nodes.h"

#include <string>
#include <utility>

namespace hachi {

Value* CopyOf(const Value* value, Copies& copies, Graph& graph) {
  if (value == nullptr) return nullptr;
  Value*& copy = copies[value];
  if (copy == nullptr && value->is_constant())
    copy = graph.AddConstant(graph.UniqueValueName(value->name), value->constant);
  return copy;
}

std::vector<Node*> CopyNodes(std::span<const Node* const> nodes, Copies& copies, Graph& graph, Node* before) {
  std::vector<Node*> added;
  for (const Node* node : nodes) {
    std::vector<Value*> inputs;
    for (const Value* input : node->inputs) inputs.push_back(CopyOf(input, copies, graph));
    std::vector<std::string> names;
    for (const Value* output : node->outputs) names.push_back(graph.UniqueValueName(output->name));
    Node* copy = graph.AddNode(node->op, graph.UniqueNodeName(node->name), std::move(inputs),
                               std::move(names), node->attrs, before);
    copy->post_ops = node->post_ops;
    for (size_t i = 0; i < node->outputs.size(); ++i) {
      copy->outputs[i]->dtype = node->outputs[i]->dtype;
      copies[node->outputs[i]] = copy->outputs[i];
    }
    added.push_back(copy);
  }
  return added;
}

}  // namespace hachi
