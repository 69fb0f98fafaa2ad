#include "engine/graph/graph.h"

#include <algorithm>
#include <set>
#include <unordered_map>
#include <unordered_set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/base/status_macros.h"

namespace hachi {
namespace {

// The attribute, which is stored as `Stored`, as a `T`.
template <typename Stored, typename T>
absl::StatusOr<T> AttrOr(const Node& node, std::string_view attr, T otherwise, const char* expected) {
  const auto found =
      std::ranges::find(node.attrs, attr, [](const auto& entry) -> std::string_view { return entry.first; });
  if (found == node.attrs.end()) return otherwise;
  if (const auto* value = std::get_if<Stored>(&found->second)) {
    if constexpr (std::is_same_v<Stored, T>)
      return *value;
    else
      return T(value->begin(), value->end());
  }
  return absl::InvalidArgumentError(absl::StrCat("node '", node.name, "': attribute '", std::string(attr),
                                                 "' has another type, expected ", expected));
}

// `base`, or the first of "base_2", "base_3" ... that is not taken; behind a few that are, some free one
// behind a taken one, which is found by halving: a file can ask for as many of the same base as it has nodes.
template <typename Taken>
std::string Unique(const std::string& base, const Taken& taken) {
  const auto name = [&](int64_t i) { return i < 2 ? base : absl::StrCat(base, "_", i); };
  constexpr int64_t kInOrder = 16;
  for (int64_t i = 1; i <= kInOrder; ++i)
    if (!taken.contains(name(i))) return name(i);
  int64_t free = 2 * kInOrder, last = kInOrder;  // not taken, taken
  for (; taken.contains(name(free)); free *= 2) last = free;
  while (free - last > 1) {
    const int64_t middle = last + (free - last) / 2;
    (taken.contains(name(middle)) ? last : free) = middle;
  }
  return name(free);
}

}  // namespace

absl::StatusOr<int64_t> Node::Int(std::string_view attr, int64_t otherwise) const {
  return AttrOr<int64_t>(*this, attr, otherwise, "an integer");
}
absl::StatusOr<float> Node::Float(std::string_view attr, float otherwise) const {
  return AttrOr<float>(*this, attr, otherwise, "a float");
}
absl::StatusOr<std::string> Node::String(std::string_view attr, std::string otherwise) const {
  return AttrOr<std::string>(*this, attr, std::move(otherwise), "a string");
}
absl::StatusOr<AxisNumbers> Node::Ints(std::string_view attr, AxisNumbers otherwise) const {
  return AttrOr<std::vector<int64_t>>(*this, attr, std::move(otherwise), "a list of integers");
}

Graph Graph::Clone() const {
  Graph copy(name_);
  std::unordered_map<const Value*, Value*> values = {{nullptr, nullptr}};
  std::unordered_map<const Node*, Node*> nodes = {{nullptr, nullptr}};
  for (const auto& [name, value] : values_)
    values[value.get()] = copy.values_.emplace(name, std::make_unique<Value>(*value)).first->second.get();
  for (const auto& node : nodes_)
    nodes[node.get()] = copy.Insert(copy.nodes_.end(), std::make_unique<Node>(*node))->get();
  for (const auto& [name, value] : copy.values_) {
    value->producer = nodes.at(value->producer);
    for (Node*& user : value->users) user = nodes.at(user);
  }
  for (const auto& node : copy.nodes_) {
    for (Value*& input : node->inputs) input = values.at(input);
    for (Value*& output : node->outputs) output = values.at(output);
  }
  for (const Value* input : inputs_) copy.inputs_.push_back(values.at(input));
  for (const Output& output : outputs_) copy.outputs_.push_back({output.name, values.at(output.value)});
  return copy;
}

std::vector<Node*> Graph::NodeList() const {
  std::vector<Node*> list;
  for (const auto& node : nodes_) list.push_back(node.get());
  return list;
}

Value* Graph::NewValue(std::string name) {
  auto value = std::make_unique<Value>();
  value->name = name;
  return values_.emplace(std::move(name), std::move(value)).first->second.get();
}

Value* Graph::AddInput(std::string name, DType dtype, SymbolicShape dims) {
  Value* value = NewValue(std::move(name));
  value->dtype = dtype;
  value->dims = std::move(dims);
  inputs_.push_back(value);
  return value;
}

Value* Graph::AddConstant(std::string name, std::shared_ptr<const Tensor> tensor) {
  Value* value = NewValue(std::move(name));
  value->dtype = tensor->dtype();
  value->dims.emplace(tensor->shape().begin(), tensor->shape().end());
  value->constant = std::move(tensor);
  return value;
}

void Graph::AddOutput(std::string name, Value* value) { outputs_.push_back({std::move(name), value}); }

void Graph::AddUse(Value* value, Node* node) {
  if (value != nullptr) value->users.push_back(node);
}

void Graph::RemoveUse(Value* value, Node* node) {
  if (value == nullptr) return;
  // Mostly what came last goes first.
  const auto found = std::find(value->users.rbegin(), value->users.rend(), node);
  value->users.erase(std::next(found).base());
}

Graph::Nodes::iterator Graph::Insert(Nodes::iterator place, std::unique_ptr<Node> node) {
  node_names_.insert(node->name);
  const auto inserted = nodes_.insert(place, std::move(node));
  places_[inserted->get()] = inserted;
  return inserted;
}

Graph::Nodes::iterator Graph::Erase(Nodes::iterator place) {
  places_.erase(place->get());
  node_names_.erase(node_names_.find((*place)->name));
  return nodes_.erase(place);
}

Node* Graph::AddNode(std::string op, std::string name, std::vector<Value*> inputs,
                     std::vector<std::string> output_names, std::map<std::string, Attr> attrs, Node* before) {
  auto made = std::make_unique<Node>();
  made->name = std::move(name);
  Node* node = Insert(before == nullptr ? nodes_.end() : places_.at(before), std::move(made))->get();
  node->op = std::move(op);
  node->attrs = std::move(attrs);
  node->inputs = std::move(inputs);
  for (Value* input : node->inputs) AddUse(input, node);
  for (std::string& output_name : output_names) {
    Value* output = NewValue(std::move(output_name));
    output->producer = node;
    node->outputs.push_back(output);
  }
  return node;
}

void Graph::SetInput(Node* node, size_t index, Value* value) {
  if (index >= node->inputs.size()) node->inputs.resize(index + 1, nullptr);
  RemoveUse(node->inputs[index], node);
  node->inputs[index] = value;
  AddUse(value, node);
}

void Graph::ReplaceUses(Value* from, Value* to) {
  const std::vector<Node*> users = std::exchange(from->users, {});
  std::unordered_set<const Node*> seen;
  for (Node* user : users) {
    if (!seen.insert(user).second) continue;  // there is one entry for each use
    for (Value*& input : user->inputs) {
      if (input != from) continue;
      input = to;
      AddUse(to, user);
    }
  }
  for (Output& output : outputs_)
    if (output.value == from) output.value = to;
}

void Graph::TakeOutput(Node* node, size_t index, Value* value) {
  if (value->producer != nullptr) std::erase(value->producer->outputs, value);
  Erase(node->outputs[index]);
  node->outputs[index] = value;
  value->producer = node;
}

void Graph::Erase(Value* value) { values_.erase(values_.find(value->name)); }

void Graph::RemoveNode(Node* node) {
  for (Value* input : node->inputs) RemoveUse(input, node);
  for (Value* output : node->outputs) Erase(output);
  Erase(places_.at(node));
}

void Graph::RemoveDead() {
  std::unordered_set<const Value*> output_values;
  for (const Output& output : outputs_) output_values.insert(output.value);
  const auto unused = [&](const Value* value) {
    return value->users.empty() && !output_values.contains(value);
  };
  for (auto it = nodes_.end(); it != nodes_.begin();) {
    --it;
    Node* node = it->get();
    if (!std::all_of(node->outputs.begin(), node->outputs.end(), unused)) continue;
    for (Value* input : node->inputs) RemoveUse(input, node);
    for (Value* output : node->outputs) Erase(output);
    it = Erase(it);
  }
  std::erase_if(values_,
                [&](const auto& entry) { return entry.second->is_constant() && unused(entry.second.get()); });
}

absl::Status Graph::Sort() {
  std::list<std::unique_ptr<Node>> sorted;
  std::unordered_set<const Node*> placed;
  const auto ready = [&](const Node& node) {
    return std::all_of(node.inputs.begin(), node.inputs.end(), [&](const Value* input) {
      return input == nullptr || input->producer == nullptr || placed.contains(input->producer);
    });
  };
  // Nodes wait for producers: a count of missing ones, resolved as producers are placed in order.
  std::unordered_map<const Node*, size_t> missing;
  std::set<size_t> ready_positions;
  std::vector<std::unique_ptr<Node>*> by_position;
  std::unordered_map<const Node*, size_t> position;
  for (auto& node : nodes_) {
    position[node.get()] = by_position.size();
    by_position.push_back(&node);
  }
  for (const auto& node : nodes_) {
    size_t count = 0;
    for (const Value* input : node->inputs) count += input != nullptr && input->producer != nullptr;
    missing[node.get()] = count;
    if (ready(*node)) ready_positions.insert(position[node.get()]);
  }
  while (!ready_positions.empty()) {
    const size_t next = *ready_positions.begin();
    ready_positions.erase(ready_positions.begin());
    Node* node = by_position[next]->get();
    placed.insert(node);
    sorted.push_back(std::move(*by_position[next]));
    for (const Value* output : node->outputs)
      for (const Node* user : output->users)
        if (--missing[user] == 0) ready_positions.insert(position[user]);
  }
  if (sorted.size() != by_position.size()) {
    std::string stuck;
    for (auto* node : by_position)
      if (*node != nullptr) stuck = (*node)->name;
    for (auto& node : sorted) *by_position[position[node.get()]] = std::move(node);
    return absl::InvalidArgumentError(
        absl::StrCat("graph '", name_, "': node '", stuck, "' is part of a cycle, expected none"));
  }
  nodes_ = std::move(sorted);
  for (auto place = nodes_.begin(); place != nodes_.end(); ++place) places_[place->get()] = place;
  return absl::OkStatus();
}

bool Graph::IsOutput(const Value* value) const {
  return std::any_of(outputs_.begin(), outputs_.end(), [&](const Output& o) { return o.value == value; });
}

Value* Graph::FindValue(std::string_view name) const {
  const auto found = values_.find(name);
  return found == values_.end() ? nullptr : found->second.get();
}

std::string Graph::UniqueValueName(const std::string& base) const { return Unique(base, values_); }

std::string Graph::UniqueNodeName(const std::string& base) const { return Unique(base, node_names_); }

absl::Status Graph::Verify() const {
  std::unordered_set<const Value*> defined(inputs_.begin(), inputs_.end());
  std::unordered_map<const Value*, size_t> uses;
  std::unordered_set<std::string> node_names;
  const auto error = [&](const Node& node, const std::string& what) {
    return absl::InvalidArgumentError(absl::StrCat("graph '", name_, "': node '", node.name, "': ", what));
  };
  for (const auto& [name, value] : values_)
    if (value->is_constant()) defined.insert(value.get());
  for (const auto& node : nodes_) {
    if (!node_names.insert(node->name).second)
      return error(*node, "name is taken, expected unique node names");
    for (const Value* input : node->inputs) {
      if (input == nullptr) continue;
      if (!defined.contains(input))
        return error(*node,
                     absl::StrCat("input '", input->name, "' is not defined before it, expected that"));
      ++uses[input];
    }
    for (const Value* output : node->outputs) {
      if (output->producer != node.get())
        return error(*node,
                     absl::StrCat("output '", output->name, "' has another producer, expected this node"));
      if (!defined.insert(output).second)
        return error(*node, absl::StrCat("output '", output->name, "' is defined twice, expected once"));
    }
    for (const PostOp& post_op : node->post_ops)
      if (post_op.kind == PostOp::Kind::kAdd && node->input(static_cast<size_t>(post_op.operand)) == nullptr)
        return error(*node,
                     absl::StrCat("post-op ", hachi::ToText(post_op), " has no operand, expected an input"));
  }
  for (const auto& [name, value] : values_)
    if (value->users.size() != uses[value.get()])
      return absl::InternalError(absl::StrCat("graph '", name_, "': value '", name, "' records ",
                                              value->users.size(), " uses, expected ", uses[value.get()]));
  for (const Output& output : outputs_)
    if (!defined.contains(output.value))
      return absl::InvalidArgumentError(
          absl::StrCat("graph '", name_, "': output '", output.name, "' is not defined, expected a value"));
  return absl::OkStatus();
}

}  // namespace hachi
