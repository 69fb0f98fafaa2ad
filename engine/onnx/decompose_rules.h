#pragma once

#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "engine/graph/graph.h"

// What rules are made of that write an operator as others.
namespace hachi {

using Attrs = std::map<std::string, Attr>;
using Results = absl::StatusOr<std::vector<Value*>>;  // one for each output; null: there is none

// Writes the nodes that take the place of one, in front of it.
class Writer {
 public:
  Writer(Graph& graph, Node& node) : graph_(graph), node_(node) {}

  const Node& node() const { return node_; }
  Value* in(size_t i) const { return node_.input(i); }

  std::vector<Value*> Make(std::string op, std::vector<Value*> inputs, size_t outputs, Attrs attrs = {}) {
    while (!inputs.empty() && inputs.back() == nullptr) inputs.pop_back();
    const std::string base = absl::StrCat(node_.name, "/", op);
    std::vector<std::string> names;
    for (size_t i = 0; i < outputs; ++i)  // distinct before the graph knows them
      names.push_back(graph_.UniqueValueName(
          absl::StrCat(base, "_", node_.output()->name, i == 0 ? "" : absl::StrCat("_", i))));
    return graph_
        .AddNode(std::move(op), graph_.UniqueNodeName(base), std::move(inputs), names, std::move(attrs),
                 &node_)
        ->outputs;
  }
  Value* Make(std::string op, std::vector<Value*> inputs, Attrs attrs = {}) {
    return Make(std::move(op), std::move(inputs), 1, std::move(attrs))[0];
  }
  Value* Constant(Tensor tensor) {
    return graph_.AddConstant(graph_.UniqueValueName(absl::StrCat(node_.name, "/constant")),
                              std::make_shared<const Tensor>(std::move(tensor)));
  }
  Value* Number(float number) { return Constant(Tensor::Of<float>({}, {number})); }
  Value* Integers(const std::vector<int64_t>& numbers) {
    return Constant(Tensor::Of<int64_t>({static_cast<int64_t>(numbers.size())}, numbers));
  }

  absl::StatusOr<float> Float(std::string_view attr, float otherwise) const {
    return node_.Float(attr, otherwise);
  }
  absl::StatusOr<int64_t> Int(std::string_view attr, int64_t otherwise) const {
    return node_.Int(attr, otherwise);
  }

 private:
  Graph& graph_;
  Node& node_;
};

inline Results One(Value* value) { return std::vector<Value*>{value}; }

struct DecomposeRule {
  std::string_view op;
  Results (*write)(Writer& writer);
  bool (*applies)(const Node& node) = nullptr;  // null: to every node of the operator
};

// Those of operators on integers that carry their scales and zero points.
std::span<const DecomposeRule> QuantizedRules();

}  // namespace hachi
