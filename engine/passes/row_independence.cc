#include "engine/passes/row_independence.h"

#include <algorithm>
#include <optional>
#include <unordered_set>
#include <vector>

#include "absl/strings/str_cat.h"
#include "engine/base/status_macros.h"
#include "engine/ops/op.h"

namespace hachi {
namespace {

class Prover {
 public:
  Prover(const Graph& graph, const Dim& rows) : graph_(graph), rows_(rows) {}

  absl::StatusOr<RowAxes> Run() {
    for (const Value* input : graph_.inputs()) {
      RETURN_IF_ERROR(CheckDoor(absl::StrCat("input '", input->name, "'"), *input));
      axes_[input] = 0;
    }
    for (const auto& node : graph_.nodes())
      RETURN_IF_ERROR(WithContext(Visit(*node), absl::StrCat("node '", node->name, "' (", node->op, ")")));
    for (const Graph::Output& output : graph_.outputs()) {
      const std::string what = absl::StrCat("output '", output.name, "'");
      RETURN_IF_ERROR(CheckDoor(what, *output.value));
      if (!axes_.contains(output.value))
        return absl::UnimplementedError(absl::StrCat(what, " holds no rows, expected some"));
    }
    return std::move(axes_);
  }

 private:
  // A tensor of the door has the rows in front, one element each.
  absl::Status CheckDoor(const std::string& what, const Value& value) const {
    if (value.rank() > 0 && value.dims->front() == rows_) return WithContext(CheckDims(value, 0), what);
    return absl::UnimplementedError(absl::StrCat(what, " has shape ", ShapeText(*value.dims), ", expected ",
                                                 rows_.ToText(), " rows in its first dimension"));
  }

  // Whole rows along that axis, and nowhere else.
  absl::Status CheckDims(const Value& value, RowAxis axis) const {
    for (size_t i = 0; i < value.rank(); ++i) {
      Dim rest = (*value.dims)[i];
      if (axis == i) {
        const std::optional<Dim> multiple = rest.ExactQuotient(rows_);
        if (!multiple) return Unexpected(value, axis);
        rest = *multiple;
      }
      if (rest.Mentions(rows_)) return Unexpected(value, axis);
    }
    return absl::OkStatus();
  }

  absl::Status Unexpected(const Value& value, RowAxis axis) const {
    return absl::UnimplementedError(absl::StrCat("'", value.name, "' has shape ", ShapeText(*value.dims),
                                                 ", expected ", rows_.ToText(), " in ",
                                                 axis ? absl::StrCat("axis ", *axis, " alone") : "no axis"));
  }

  RowAxis AxisOf(const Value* value) const {
    const auto found = axes_.find(value);
    return found == axes_.end() ? RowAxis() : RowAxis(found->second);
  }

  absl::Status Visit(const Node& node) {
    // What inference knows of elements says all of them.
    std::vector<size_t> outputs;
    for (size_t i = 0; i < node.outputs.size(); ++i) {
      const Value* output = node.outputs[i];
      if (!output->content) {
        outputs.push_back(i);
      } else if (std::ranges::any_of(*output->content, [&](const Dim& dim) { return dim.Mentions(rows_); })) {
        counts_.insert(output);
      }
    }
    for (const size_t i : outputs) {
      ASSIGN_OR_RETURN(const RowAxis axis, AxisOfOutput(node, i));
      RETURN_IF_ERROR(CheckDims(*node.outputs[i], axis));
      if (axis) axes_[node.outputs[i]] = *axis;
    }
    return absl::OkStatus();
  }

  absl::StatusOr<RowAxis> AxisOfOutput(const Node& node, size_t output) const {
    const OpDef& op = *FindOp(node.op);
    std::vector<RowAxis> inputs;
    bool same = true;
    for (size_t i = 0; i < node.inputs.size(); ++i) {
      const bool as_shape = op.shape_input == static_cast<int>(i), counts = counts_.contains(node.inputs[i]);
      if (counts && !as_shape)
        return absl::UnimplementedError(
            absl::StrCat("computes with '", node.inputs[i]->name, "', which depends on the number of rows"));
      inputs.push_back(AxisOf(node.inputs[i]));
      same &= !counts && !inputs.back();
    }
    if (same) return RowAxis();
    if (op.rows == nullptr) return absl::UnimplementedError("is not known to keep rows apart");
    return op.rows({node, inputs, rows_, output});
  }

  const Graph& graph_;
  const Dim& rows_;
  RowAxes axes_;
  std::unordered_set<const Value*> counts_;  // elements say how many rows there are
};

}  // namespace

absl::StatusOr<RowAxes> ProveRowsIndependent(const Graph& graph, const Dim& rows) {
  return Prover(graph, rows).Run();
}

void ShareRowsSymbol(Graph& graph) {
  std::vector<Dim> named;
  for (const Value* input : graph.inputs())
    if (!input->dims->empty() && !input->dims->front().constant()) named.push_back(input->dims->front());
  for (Value* input : graph.inputs())
    for (Dim& dim : *input->dims)
      if (std::ranges::count(named, dim) > 0) dim = named.front();
}

}  // namespace hachi
