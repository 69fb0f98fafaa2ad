#include <algorithm>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "engine/base/status_macros.h"
#include "engine/ops/einsum.h"
#include "engine/passes/match.h"
#include "engine/passes/passes.h"

namespace hachi {
namespace {

bool Has(const std::string& letters, char c) { return letters.find(c) != std::string::npos; }

// Writes the nodes that take an Einsum's place, in front of it, inferred.
class Writer {
 public:
  Writer(Graph& graph, Node* before) : graph_(graph), before_(before) {}

  absl::StatusOr<Value*> Make(const std::string& op, std::vector<Value*> inputs,
                              std::map<std::string, Attr> attrs = {}) {
    return InsertBefore(graph_, before_, op, std::move(inputs), std::move(attrs));
  }

  Value* Integers(const std::vector<int64_t>& numbers) {
    return graph_.AddConstant(
        graph_.UniqueValueName(absl::StrCat(before_->name, "/axes")),
        std::make_shared<const Tensor>(Tensor::Of<int64_t>({static_cast<int64_t>(numbers.size())}, numbers)));
  }

  // The value with its axes in another order.
  absl::StatusOr<Value*> Ordered(Value* value, const std::string& letters, const std::string& wanted) {
    std::vector<int64_t> perm;
    for (const char c : wanted) perm.push_back(static_cast<int64_t>(letters.find(c)));
    if (letters == wanted) return value;
    return Make("Transpose", {value}, {{"perm", perm}});
  }

 private:
  Graph& graph_;
  Node* const before_;
};

// a(batch, rows, depth) × b(batch, depth, columns), where each group but the batch is one axis or none.
absl::Status MakeProduct(Graph& graph, Node* node, const Equation& equation) {
  const std::string &left = equation.inputs[0], &right = equation.inputs[1], &out = equation.output;
  std::string batch, rows, columns, depth;
  for (const char c : out) (Has(left, c) && Has(right, c) ? batch : Has(left, c) ? rows : columns) += c;
  for (const char c : left)
    if (!Has(out, c)) depth += c;
  Writer writer(graph, node);
  ASSIGN_OR_RETURN(Value * a, writer.Ordered(node->inputs[0], left, batch + rows + depth));
  ASSIGN_OR_RETURN(Value * b, writer.Ordered(node->inputs[1], right, batch + depth + columns));
  const auto axis = static_cast<int64_t>(batch.size());
  const auto with_axis = [&](Value* value, int64_t at) {
    return writer.Make("Unsqueeze", {value, writer.Integers({at})});
  };
  if (rows.empty()) {
    ASSIGN_OR_RETURN(a, with_axis(a, axis));
  }
  if (depth.empty()) {
    ASSIGN_OR_RETURN(a, with_axis(a, axis + 1));
    ASSIGN_OR_RETURN(b, with_axis(b, axis));
  }
  if (columns.empty()) {
    ASSIGN_OR_RETURN(b, with_axis(b, axis + 1));
  }
  ASSIGN_OR_RETURN(Value * product, writer.Make("MatMul", {a, b}));
  std::vector<int64_t> gone;
  if (rows.empty()) gone.push_back(axis);
  if (columns.empty()) gone.push_back(axis + 1);
  if (!gone.empty()) {
    ASSIGN_OR_RETURN(product, writer.Make("Squeeze", {product, writer.Integers(gone)}));
  }
  ASSIGN_OR_RETURN(product, writer.Ordered(product, batch + rows + columns, out));
  graph.ReplaceUses(node->output(), product);
  return absl::OkStatus();
}

// Two operands, each axis once in each, none that only one operand has and the result has not, sizes equal
// where they meet.
bool IsProduct(const Node& node, const Equation& equation) {
  if (equation.inputs.size() != 2) return false;
  const std::string &left = equation.inputs[0], &right = equation.inputs[1], &out = equation.output;
  size_t rows = 0, columns = 0, depth = 0;
  for (size_t i = 0; i < left.size(); ++i) {
    const char c = left[i];
    const size_t other = right.find(c);
    if (std::ranges::count(left, c) > 1) return false;
    if (other == std::string::npos && !Has(out, c)) return false;
    if (other != std::string::npos && (*node.inputs[0]->dims)[i] != (*node.inputs[1]->dims)[other])
      return false;
    rows += other == std::string::npos ? 1 : 0;
    depth += other != std::string::npos && !Has(out, c) ? 1 : 0;
  }
  for (const char c : right) {
    if (std::ranges::count(right, c) > 1 || (!Has(left, c) && !Has(out, c))) return false;
    columns += Has(left, c) ? 0 : 1;
  }
  return rows <= 1 && columns <= 1 && depth <= 1;
}

}  // namespace

absl::Status DecomposeEinsum(Graph& graph, const PassOptions& /*options*/) {
  for (Node* node : graph.NodeList()) {
    if (node->op != "Einsum") continue;
    ASSIGN_OR_RETURN(const Equation equation, EquationOf(*node));
    if (!IsProduct(*node, equation)) continue;
    RETURN_IF_ERROR(MakeProduct(graph, node, equation));
  }
  return absl::OkStatus();
}

}  // namespace hachi
