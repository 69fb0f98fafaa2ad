#include "engine/decide/adopt_table.h"

#include <algorithm>
#include <array>
#include <iterator>
#include <map>
#include <string>
#include <string_view>
#include <unordered_set>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"

namespace hachi {
namespace {

// What these make is never negative; the others' is not where nothing that they read is.
constexpr std::array<std::string_view, 6> kNeverNegative = {"Abs",  "Exp",     "HardSigmoid",
                                                            "Relu", "Sigmoid", "Softmax"};
constexpr std::array<std::string_view, 12> kKeepSigns = {
    "Add",     "AveragePool", "Concat",  "Flatten", "GlobalAveragePool", "GlobalMaxPool",
    "MaxPool", "Mul",         "Reshape", "Squeeze", "Transpose",         "Unsqueeze"};

// The values of a graph that can't be negative, as far as a look at each node's operator shows.
class NonNegative {
 public:
  explicit NonNegative(const Graph& graph) {
    for (const Node* node : graph.NodeList())
      if (IsNever(*node))
        for (const Value* output : node->outputs) values_.insert(output);
  }

  bool Contains(const Value* value) const { return values_.contains(value); }

 private:
  bool IsNever(const Node& node) const {
    if (std::ranges::count(kNeverNegative, node.op) > 0) return true;
    if (node.op == "Clip") {
      const Value* low = node.input(1);
      return low != nullptr && low->is_constant() && low->dtype == DType::kF32 &&
             std::ranges::all_of(low->constant->As<float>(), [](float x) { return x >= 0; });
    }
    return std::ranges::count(kKeepSigns, node.op) > 0 &&
           std::ranges::all_of(node.inputs, [&](const Value* v) {
             return v == nullptr || v->dtype != DType::kF32 || values_.contains(v);
           });
  }

  std::unordered_set<const Value*> values_;
};

bool IsObserved(const Value* value) {
  return value != nullptr && !value->is_constant() && value->dtype == DType::kF32;
}

// What the table's names mean in the graph.
std::map<std::string, const Value*, std::less<>> Named(const Graph& graph, bool names_layers) {
  std::map<std::string, const Value*, std::less<>> named;
  if (!names_layers) {
    for (const auto& [name, value] : graph.values())
      if (IsObserved(value.get())) named.emplace(name, value.get());
    return named;
  }
  const std::vector<Node*> nodes = graph.NodeList();
  std::vector<const Node*> layers;
  std::ranges::copy_if(nodes, std::back_inserter(layers),
                       [](const Node* node) { return !node->inputs.empty() && IsObserved(node->inputs[0]); });
  for (const Node* node : layers) named.emplace(node->name, node->inputs[0]);
  for (const Node* node : layers)
    if (node->outputs[0] != nullptr) named.emplace(node->outputs[0]->name, node->inputs[0]);
  return named;
}

}  // namespace

absl::StatusOr<AdoptedTable> AdoptTable(const ForeignTable& foreign, const Graph& graph) {
  const auto named = Named(graph, foreign.names_layers);
  const NonNegative non_negative(graph);
  TableReport report = {.tool = foreign.tool};
  std::map<std::string, TensorStats, std::less<>> ranges;
  for (const auto& [name, range] : foreign.ranges) {
    const auto found = named.find(name);
    if (found == named.end()) {
      report.unmatched.push_back(name);
      continue;
    }
    report.matched.push_back(name);
    const Value* value = found->second;
    const float min = foreign.only_magnitudes && non_negative.Contains(value) ? 0 : range.min;
    ranges[value->name].Merge(TensorStats::OfRange(min, range.max));  // of all the layers that read it
  }
  if (report.matched.empty())
    return absl::FailedPreconditionError(
        absl::StrCat("calibration table: written by ", foreign.tool, " for another model: none of its ",
                     foreign.ranges.size(), " names is in this one, '", foreign.ranges.begin()->first,
                     "' for one, expected names of ", foreign.names_layers ? "nodes" : "tensors"));
  for (const auto& [name, value] : graph.values())
    if (IsObserved(value.get()) && !ranges.contains(name)) report.missing.push_back(name);
  return AdoptedTable{CalibrationTable::OfRanges(std::move(ranges)), std::move(report)};
}

}  // namespace hachi
