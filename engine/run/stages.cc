#include "engine/run/stages.h"

#include <algorithm>
#include <set>
#include <string>

#include "absl/strings/str_cat.h"
#include "engine/base/status_macros.h"
#include "engine/passes/copy_nodes.h"
#include "engine/passes/infer_graph.h"
#include "engine/run/box_copy.h"

namespace hachi {
namespace {

// What the nodes that come later read of the ones before, each value once, in order; and what of the graph's
// outputs is known before.
std::vector<const Value*> ReadLater(const Graph& graph, const std::vector<Node*>& later) {
  std::set<const Value*> seen;
  std::vector<const Value*> read;
  for (const Node* node : later) seen.insert(node->outputs.begin(), node->outputs.end());
  const auto note = [&](const Value* value) {
    if (value != nullptr && !value->is_constant() && seen.insert(value).second) read.push_back(value);
  };
  for (const Node* node : later)
    for (const Value* input : node->inputs) note(input);
  for (const Graph::Output& output : graph.outputs()) note(output.value);
  return read;
}

// Whether a run of what is handed over tells more than inference knew.
bool TellsMore(const Value* value, const PartialInference& partial) {
  if (partial.measured.contains(value)) return true;
  return partial.asked.contains(value) && HasFewElements(*value);
}

class Splitter {
 public:
  Splitter(const Graph& graph, const PartialInference& partial) : graph_(graph), partial_(partial) {}

  Stages Split() {
    CopyFirst();
    const std::vector<const Value*> read = ReadLater(graph_, partial_.later);
    for (const Value* value : read) HandOver(value);
    CopyNodes(std::vector<const Node*>(partial_.later.begin(), partial_.later.end()), in_second_,
              stages_.second, nullptr);
    for (const Graph::Output& output : graph_.outputs())
      stages_.second.AddOutput(output.name, CopyOf(output.value, in_second_, stages_.second));
    stages_.first.RemoveDead();
    return std::move(stages_);
  }

 private:
  void CopyFirst() {
    for (const Value* input : graph_.inputs())
      in_first_[input] = stages_.first.AddInput(input->name, input->dtype, *input->dims);
    const std::set<const Node*> later(partial_.later.begin(), partial_.later.end());
    std::vector<const Node*> nodes;
    for (const auto& node : graph_.nodes())
      if (!later.contains(node.get()) && !partial_.measured.contains(node->outputs[0]))
        nodes.push_back(node.get());
    CopyNodes(nodes, in_first_, stages_.first, nullptr);
  }

  // The output of the first stage that `value` is.
  size_t OutputOf(const Value* value) {
    Value* here = in_first_.at(value);
    const auto& outputs = stages_.first.outputs();
    const auto found = std::ranges::find(outputs, here, &Graph::Output::value);
    if (found != outputs.end()) return static_cast<size_t>(found - outputs.begin());
    stages_.first.AddOutput(here->name, here);
    return outputs.size() - 1;
  }

  void HandOver(const Value* value) {
    HandedValue& handed = stages_.handed.emplace_back();
    const auto measured = partial_.measured.find(value);
    const Value* source = measured == partial_.measured.end() ? value : measured->second.most;
    SymbolicShape dims = *source->dims;
    handed.output = OutputOf(source);
    if (measured != partial_.measured.end()) {
      handed.measured_axis = measured->second.axis;
      handed.count_output = OutputOf(measured->second.count);
      dims[measured->second.axis] = Dim::Symbol(absl::StrCat("found_", stages_.handed.size()));
    }
    in_second_[value] = stages_.second.AddInput(value->name, source->dtype, std::move(dims));
  }

  const Graph& graph_;
  const PartialInference& partial_;
  Stages stages_;
  Copies in_first_, in_second_;
};

}  // namespace

absl::StatusOr<Stages> SplitStages(const Graph& graph) {
  Graph inferred = graph.Clone();
  ASSIGN_OR_RETURN(const PartialInference partial, InferPartly(inferred));
  const std::vector<const Value*> read = ReadLater(inferred, partial.later);
  if (std::ranges::none_of(read, [&](const Value* value) {
        return (value->producer != nullptr || partial.measured.contains(value)) && TellsMore(value, partial);
      }))
    return partial.failure.ok() ? absl::InternalError("nothing is left for a second stage") : partial.failure;
  return Splitter(inferred, partial).Split();
}

Tensor TakeHanded(const HandedValue& handed, std::span<const Tensor> outputs) {
  const Tensor& most = outputs[handed.output];
  Shape shape = most.shape();
  if (handed.measured_axis) shape[*handed.measured_axis] = outputs[handed.count_output].As<int64_t>()[0];
  Tensor taken(most.dtype(), shape);
  if (taken.count() > 0)
    CopyBox(most.bytes().data(), most.shape(), taken.bytes().data(), shape, shape, SizeOf(most.dtype()));
  return taken;
}

}  // namespace hachi
