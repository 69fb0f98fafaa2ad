#include "engine/passes/infer_graph.h"

#include <algorithm>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "engine/base/status_macros.h"
#include "engine/ops/infer.h"
#include "engine/ops/measured.h"
#include "engine/ops/op.h"
#include "engine/ops/quantized.h"
#include "engine/passes/copy_nodes.h"

namespace hachi {
namespace {

constexpr int kMaxDepth = 32;              // of the nodes that make a condition
constexpr int64_t kMaxElements = 1 << 16;  // of each value that a condition is made from

// Elements read times elements made, which is more than a reference takes steps: of a node, and of all that
// are looked at together. What shapes are made from is far below.
constexpr int64_t kMaxWork = 1 << 26, kMaxAllWork = 1 << 28;

bool IsSmallInput(const Graph& graph, const Value* value) {
  return std::ranges::find(graph.inputs(), value) != graph.inputs().end() && HasFewElements(*value);
}

// Finds out elements of values, each once.
class KnownValues {
 public:
  // `work_left` is what may still be done, by others too.
  explicit KnownValues(int64_t& work_left) : work_left_(&work_left) {}

  // The elements, where they follow from constants and known shapes; else null.
  std::shared_ptr<const Tensor> Of(const Value& value, int depth = kMaxDepth) {
    if (value.is_constant()) return value.constant;
    const auto found = known_.find(&value);
    if (found != known_.end()) return found->second;
    auto elements = Compute(value, depth);
    known_[&value] = elements;
    return elements;
  }

 private:
  std::shared_ptr<const Tensor> Compute(const Value& value, int depth) {
    if (auto known = KnownElements(value)) return std::make_shared<const Tensor>(*std::move(known));
    const Node* node = value.producer;
    if (node == nullptr || depth == 0 || node->op == "If") return nullptr;
    int64_t read = 1, made = 1;
    for (const Value* output : node->outputs) {
      if (!output->dims) return nullptr;
      const auto count = CountOf(*output->dims).constant();
      if (!count || *count > kMaxElements) return nullptr;
      made += *count;
    }
    std::vector<std::shared_ptr<const Tensor>> elements;
    std::vector<TensorView> views;
    for (const Value* input : node->inputs) {
      elements.push_back(input == nullptr ? nullptr : Of(*input, depth - 1));
      if (input != nullptr && (elements.back() == nullptr || elements.back()->count() > kMaxElements))
        return nullptr;
      read += input == nullptr ? 0 : elements.back()->count();
      views.push_back(input == nullptr ? TensorView{} : elements.back()->view());
    }
    const int64_t work = read * made;
    if (work > std::min(kMaxWork, *work_left_)) return nullptr;
    *work_left_ -= work;
    auto outputs = RunReference(*node, views, {});
    if (!outputs.ok()) return nullptr;
    for (size_t i = 0; i < outputs->size(); ++i)
      known_[node->outputs[i]] = std::make_shared<const Tensor>(std::move((*outputs)[i]));
    return known_[&value];
  }

  std::map<const Value*, std::shared_ptr<const Tensor>> known_;
  int64_t* work_left_;
};

// Small integers that follow from constants are dimensions that are known.
void NoteContents(const Node& node, KnownValues& known) {
  constexpr int64_t kMostContent = 64;
  for (Value* output : node.outputs) {
    const bool integers = output->dtype == DType::kS64 || output->dtype == DType::kS32;
    if (!integers || output->content || output->rank() > 1) continue;
    const auto count = CountOf(*output->dims).constant();
    if (!count || *count > kMostContent) continue;
    const auto elements = known.Of(*output);
    if (elements == nullptr) continue;
    output->content.emplace();
    for (int64_t i = 0; i < *count; ++i) output->content->emplace_back(IntegerAt(elements->view(), i));
  }
}

// Whether the value follows from small inputs, shapes and constants: a request then says what it is.
bool FollowsFromSmallInputs(const Graph& graph, const Value* value) {
  constexpr size_t kMostValues = 4096;  // that are looked at: a file may ask as often as it has nodes
  std::set<const Value*> seen{value};
  std::vector<const Value*> queue{value};
  for (size_t i = 0; i < queue.size(); ++i) {
    if (queue.size() > kMostValues) return false;
    const Node* node = queue[i]->producer;
    if (node == nullptr && !queue[i]->is_constant() && !IsSmallInput(graph, queue[i])) return false;
    if (node == nullptr || !FindOp(node->op) || !FindOp(node->op)->reads_elements) continue;
    for (const Value* input : node->inputs)
      if (input != nullptr && seen.insert(input).second) queue.push_back(input);
  }
  return true;
}

absl::Status InferNodes(Graph& graph, const std::vector<Node*>& nodes, int64_t& work_left);

// Puts the nodes of one of an If's branches in front of it; what they make of the branch's outputs.
absl::StatusOr<std::vector<Value*>> WriteBranch(Graph& graph, Node* node, bool then, int64_t& work_left) {
  const auto branch_of = [&](const char* name) {
    return std::get<std::shared_ptr<const Graph>>(node->attrs.at(name));
  };
  const std::shared_ptr<const Graph> then_branch = branch_of("then_branch");
  const std::shared_ptr<const Graph> branch = then ? then_branch : branch_of("else_branch");
  if (branch->outputs().size() != node->outputs.size())
    return absl::InvalidArgumentError(absl::StrCat("the branch has ", branch->outputs().size(),
                                                   " outputs, expected ", node->outputs.size()));
  std::map<const Value*, Value*> taken;
  size_t at = then ? 1 : 1 + then_branch->inputs().size();
  for (const Value* input : branch->inputs()) taken[input] = node->inputs[at++];
  std::vector<const Node*> nodes;
  for (const auto& inner : branch->nodes()) nodes.push_back(inner.get());
  std::vector<Node*> added = CopyNodes(nodes, taken, graph, node);
  // A branch within the branch gives way to other values, which its users then read.
  std::vector<Value*> results;
  for (const Graph::Output& output : branch->outputs()) results.push_back(CopyOf(output.value, taken, graph));
  for (Value*& result : results) {
    const std::string name = graph.UniqueValueName(absl::StrCat(result->name, "_taken"));
    Node* mark = graph.AddNode("Identity", graph.UniqueNodeName(name), {result}, {name}, {}, node);
    added.push_back(mark);
    result = mark->output();
  }
  RETURN_IF_ERROR(InferNodes(graph, added, work_left));
  return results;
}

// The branch that the condition takes takes the If's place. Where a computed condition decides between
// tensors of one shape, both are computed and it selects.
absl::Status TakeBranch(Graph& graph, Node* node, int64_t& work_left) {
  if (node->inputs.empty() || node->inputs[0] == nullptr)
    return absl::InvalidArgumentError("has no condition, expected one");
  Value* condition = node->inputs[0];
  const auto known = KnownValues(work_left).Of(*condition);
  std::vector<Value*> results;
  if (known != nullptr) {
    if (known->dtype() != DType::kBool || known->count() != 1)
      return absl::InvalidArgumentError(
          absl::StrCat("the condition '", condition->name, "' is no single bool, expected one"));
    ASSIGN_OR_RETURN(results, WriteBranch(graph, node, known->As<bool>()[0], work_left));
  } else {
    const absl::Status computed = absl::UnimplementedError(
        absl::StrCat("the condition '", condition->name,
                     "' is computed, expected a constant or one that follows from shapes"));
    if (FollowsFromSmallInputs(graph, condition) || CountOf(*condition->dims) != Dim(1)) return computed;
    ASSIGN_OR_RETURN(const std::vector<Value*> taken, WriteBranch(graph, node, true, work_left));
    ASSIGN_OR_RETURN(const std::vector<Value*> otherwise, WriteBranch(graph, node, false, work_left));
    for (size_t i = 0; i < taken.size(); ++i) {
      if (taken[i]->dims != otherwise[i]->dims || taken[i]->dtype != otherwise[i]->dtype ||
          taken[i]->rank() < condition->rank())
        return computed;
      const std::string name = graph.UniqueValueName(absl::StrCat(node->outputs[i]->name, "_selected"));
      Node* select = graph.AddNode("Where", graph.UniqueNodeName(name), {condition, taken[i], otherwise[i]},
                                   {name}, {}, node);
      RETURN_IF_ERROR(InferNode(*select));
      results.push_back(select->output());
    }
  }
  for (size_t i = 0; i < results.size(); ++i) graph.ReplaceUses(node->outputs[i], results[i]);
  graph.RemoveNode(node);
  return absl::OkStatus();
}

// Puts constants in the place of computed inputs whose elements are known; false: there are none.
bool FoldInputs(Graph& graph, Node* node, KnownValues& values) {
  bool folded = false;
  for (size_t i = 0; i < node->inputs.size(); ++i) {
    const Value* input = node->inputs[i];
    if (input == nullptr || input->producer == nullptr) continue;
    auto known = values.Of(*input);
    if (known == nullptr) continue;
    graph.SetInput(
        node, i,
        graph.AddConstant(graph.UniqueValueName(absl::StrCat(input->name, "_known")), std::move(known)));
    folded = true;
  }
  return folded;
}

absl::Status InferNodes(Graph& graph, const std::vector<Node*>& nodes, int64_t& work_left) {
  KnownValues known(work_left);
  for (Node* node : nodes) {
    if (node->op != "If") {
      absl::Status status = InferNode(*node);
      // What has to be known may be computed from what is.
      if (absl::IsUnimplemented(status) && IsOp(node->op) && FoldInputs(graph, node, known))
        status = InferNode(*node);
      RETURN_IF_ERROR(status);
      NoteContents(*node, known);
      continue;
    }
    const std::string name = node->name;
    RETURN_IF_ERROR(WithContext(TakeBranch(graph, node, work_left), absl::StrCat("node '", name, "' (If)")));
    known = KnownValues(work_left);  // values are gone, and others may stand where they stood
  }
  return absl::OkStatus();
}

// Puts in front of a node whose outputs are measured one that has room for the most that there can be, and
// counts. False: the node is none, or its inputs don't fit.
bool Measure(Graph& graph, Node* node, std::map<const Value*, MeasuredValue>& measured) {
  const OpDef* op = FindOp(node->op);
  if (op == nullptr || op->measured_axis == nullptr || IsMeasured(*node)) return false;
  std::vector<std::string> names;
  for (const Value* output : node->outputs)
    names.push_back(graph.UniqueValueName(absl::StrCat(output->name, "_most")));
  names.push_back(graph.UniqueValueName(absl::StrCat(node->outputs[0]->name, "_count")));
  std::map<std::string, Attr> attrs = node->attrs;
  attrs[std::string(kMeasured)] = int64_t{1};
  Node* most =
      graph.AddNode(node->op, graph.UniqueNodeName(node->name), node->inputs, names, std::move(attrs), node);
  if (!InferNode(*most).ok()) {
    graph.RemoveNode(most);
    return false;
  }
  for (size_t i = 0; i < node->outputs.size(); ++i) {
    const auto axis = op->measured_axis(*most, i);
    if (axis)
      measured[node->outputs[i]] = {most->outputs[i], most->outputs.back(), *axis};
    else
      graph.ReplaceUses(node->outputs[i], most->outputs[i]);
  }
  return true;
}

}  // namespace

bool HasFewElements(const Value& value) {
  constexpr int64_t kMost = 64;
  const auto count = CountOf(*value.dims).constant();
  return value.rank() <= 1 && count && *count <= kMost;
}

absl::Status InferGraph(Graph& graph) {
  int64_t work_left = kMaxAllWork;
  return InferNodes(graph, graph.NodeList(), work_left);
}

absl::StatusOr<PartialInference> InferPartly(Graph& graph) {
  PartialInference found;
  int64_t work_left = kMaxAllWork;
  std::set<const Value*> unknown;
  for (Node* node : graph.NodeList()) {
    if (node->op != "If" && !IsOp(node->op))
      return absl::UnimplementedError(
          absl::StrCat("node '", node->name, "': operator '", node->op, "' is not supported"));
    const std::vector<Value*> inputs = node->inputs, outputs = node->outputs;
    if (std::ranges::none_of(inputs, [&](const Value* input) { return unknown.contains(input); })) {
      const absl::Status status = InferNodes(graph, {node}, work_left);
      if (status.ok()) continue;
      if (Measure(graph, node, found.measured)) {
        for (const Value* output : outputs) unknown.insert(output);
        continue;
      }
      found.failure.Update(status);
    }
    unknown.insert(outputs.begin(), outputs.end());
    found.later.push_back(node);
    for (const Value* input : inputs)
      if (input != nullptr && !unknown.contains(input)) found.asked.insert(input);
  }
  return found;
}

absl::StatusOr<std::set<size_t>> DecidingInputs(const Graph& given) {
  Graph graph = given.Clone();
  ASSIGN_OR_RETURN(PartialInference partial, InferPartly(graph));
  std::set<const Value*>& asked = partial.asked;
  // What is asked for follows from inputs.
  std::vector<const Value*> queue(asked.begin(), asked.end());
  std::set<size_t> deciding;
  for (size_t i = 0; i < queue.size(); ++i) {
    const Value* value = queue[i];
    if (value->producer != nullptr) {
      for (const Value* input : value->producer->inputs)
        if (input != nullptr && asked.insert(input).second) queue.push_back(input);
      continue;
    }
    if (IsSmallInput(graph, value))
      deciding.insert(static_cast<size_t>(std::ranges::find(graph.inputs(), value) - graph.inputs().begin()));
  }
  return deciding;
}

}  // namespace hachi
