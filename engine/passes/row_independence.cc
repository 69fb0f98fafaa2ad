#include "engine/passes/row_independence.h"

#include <algorithm>
#include <optional>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "absl/strings/str_cat.h"
#include "engine/base/status_macros.h"
#include "engine/ops/infer.h"
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

  // A value whose elements are the numbers of their rows, counted along `axis`; where `component` is set, its
  // last axis holds tuples, of which that component is.
  struct RowNumbers {
    size_t axis;
    std::optional<size_t> component;
  };

  // Row numbers change with the batch that a row rides in, and are good for one thing: to pick the row itself
  // out of what holds rows (transformers mask attention so). True: the node makes row numbers, or picks by
  // them.
  absl::StatusOr<bool> VisitRowNumbers(const Node& node) {
    if (node.op == "Range") return VisitRange(node);
    const auto numbers_of = [&](const Value* value) {
      const auto found = value == nullptr ? numbers_.end() : numbers_.find(value);
      return found == numbers_.end() ? std::nullopt : std::optional(found->second);
    };
    std::optional<RowNumbers> numbers;
    size_t place = 0;  // of the input that has them
    for (size_t i = 0; i < node.inputs.size(); ++i) {
      const auto own = numbers_of(node.inputs[i]);
      if (own && numbers) return absl::UnimplementedError("computes with two inputs that number rows");
      if (own) numbers = own, place = i;
    }
    if (!numbers) return false;
    if (node.op == "Gather" && place == 1) return PickRows(node, *numbers, !numbers->component);
    if (node.op == "GatherND" && place == 1) {
      ASSIGN_OR_RETURN(const int64_t batch, node.Int("batch_dims", 0));
      return PickRows(node, *numbers, numbers->component == size_t{0} && batch == 0);
    }
    if (node.op == "Concat") return JoinNumbers(node, *numbers, place);
    static constexpr std::string_view kCopies[] = {"Cast",    "Expand",    "Identity", "Reshape",
                                                   "Squeeze", "Transpose", "Unsqueeze"};
    if (place == 0 && !numbers->component && std::ranges::find(kCopies, node.op) != std::end(kCopies)) {
      std::vector<RowAxis> inputs(node.inputs.size());
      inputs[0] = numbers->axis;
      ASSIGN_OR_RETURN(const RowAxis axis, FindOp(node.op)->rows({node, inputs, rows_}));
      RETURN_IF_ERROR(CheckDims(*node.output(), axis));
      if (axis) numbers_[node.output()] = {*axis, std::nullopt};
      if (axis) return true;
    }
    return absl::UnimplementedError("computes with the numbers of rows");
  }

  // From 0 to before the number of rows.
  absl::StatusOr<bool> VisitRange(const Node& node) {
    const auto is = [&](size_t i, const Dim& dim) {
      return ContentOf(*node.inputs[i]) == SymbolicShape{dim};
    };
    if (!is(0, Dim(0)) || !is(1, rows_) || !is(2, Dim(1))) return false;
    numbers_[node.output()] = {0, std::nullopt};
    return true;
  }

  // The data's axis 0 has one element a row, and the indices pick the row's own.
  absl::StatusOr<bool> PickRows(const Node& node, const RowNumbers& numbers, bool by_number) {
    const Value* data = node.inputs[0];
    ASSIGN_OR_RETURN(const int64_t axis, node.Int("axis", 0));
    if (!by_number || axis != 0 || AxisOf(data) != RowAxis(0) || data->dims->front() != rows_)
      return absl::UnimplementedError("picks by the numbers of rows what does not hold them in axis 0");
    RETURN_IF_ERROR(CheckDims(*node.output(), numbers.axis));
    axes_[node.output()] = numbers.axis;
    return true;
  }

  // Tuples of a row number and what is any row's own.
  absl::StatusOr<bool> JoinNumbers(const Node& node, const RowNumbers& numbers, size_t place) {
    ASSIGN_OR_RETURN(const int64_t written, node.Int("axis", 0));
    const auto rank = static_cast<int64_t>(node.output()->rank());
    const bool last = written == -1 || written == rank - 1;
    size_t component = 0;
    for (size_t i = 0; i < node.inputs.size(); ++i) {
      const RowAxis other = AxisOf(node.inputs[i]);
      const bool one = node.inputs[i]->dims->back() == Dim(1);
      if (!last || !one || numbers.component || (other && *other != numbers.axis) ||
          counts_.contains(node.inputs[i]))
        return absl::UnimplementedError("joins the numbers of rows with what is no tuple of indices");
      if (i < place) ++component;
    }
    numbers_[node.output()] = {numbers.axis, component};
    return true;
  }

  absl::Status Visit(const Node& node) {
    ASSIGN_OR_RETURN(const bool of_numbers, VisitRowNumbers(node));
    if (of_numbers) return absl::OkStatus();
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
  std::unordered_map<const Value*, RowNumbers> numbers_;
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
