#include <limits>
#include <string>
#include <vector>

#include "engine/base/status_macros.h"
#include "engine/ops/infer.h"
#include "engine/passes/match.h"
#include "engine/passes/passes.h"

namespace hachi {
namespace {

// What a window reads beyond its input: zeros, and for a maximum nothing, which is minus infinity.
bool FillsAs(const Node& pad, const Node& window) {
  const Value* value = pad.input(2);
  const auto number = value == nullptr || (value->is_constant() && value->constant->count() == 0)
                          ? std::optional(0.0f)
                          : ScalarOf(value);
  if (!number) return false;
  if (window.op == "MaxPool") return *number <= std::numeric_limits<float>::lowest();
  if (window.op != "AveragePool") return *number == 0.0f;
  const auto counts = window.Int("count_include_pad", 0);
  return counts.ok() && *counts != 0 && *number == 0.0f;
}

// The pads of the spatial axes, fronts then ends, if there are no others and none cuts.
absl::StatusOr<std::vector<int64_t>> SpatialPads(const Node& pad) {
  const size_t rank = pad.inputs[0]->rank();
  ASSIGN_OR_RETURN(const AxisNumbers written, KnownInts(pad, 1, "pads"));
  AxisNumbers axes;
  if (pad.input(3) != nullptr) {
    ASSIGN_OR_RETURN(axes, KnownInts(pad, 3, "axes"));
  } else {
    for (size_t axis = 0; axis < rank; ++axis) axes.push_back(static_cast<int64_t>(axis));
  }
  std::vector<int64_t> pads(2 * (rank - 2), 0);
  for (size_t i = 0; i < axes.size(); ++i) {
    ASSIGN_OR_RETURN(const size_t axis, CheckAxis(axes[i], rank));
    const int64_t front = written[i], end = written[i + axes.size()];
    if (front < 0 || end < 0 || (axis < 2 && (front != 0 || end != 0)))
      return absl::UnimplementedError("pads rows or channels, or cuts");
    if (axis < 2) continue;
    pads[axis - 2] = front;
    pads[axis - 2 + rank - 2] = end;
  }
  return pads;
}

bool IsWindow(const Node& node) {
  return node.op == "Conv" || node.op == "MaxPool" || node.op == "AveragePool";
}

}  // namespace

absl::Status FoldPads(Graph& graph, const PassOptions& /*options*/) {
  for (Node* node : graph.NodeList()) {
    if (!IsWindow(*node) || node->outputs.size() != 1) continue;
    Node* pad = MakerOf(node->inputs[0], "Pad");
    if (pad == nullptr || pad->inputs[0]->rank() < 3 || !FillsAs(*pad, *node)) continue;
    ASSIGN_OR_RETURN(const std::string mode, pad->String("mode", "constant"));
    ASSIGN_OR_RETURN(const std::string auto_pad, node->String("auto_pad", "NOTSET"));
    ASSIGN_OR_RETURN(const int64_t ceil_mode, node->Int("ceil_mode", 0));
    if (mode != "constant" || (auto_pad != "NOTSET" && auto_pad != "VALID") || ceil_mode != 0) continue;
    const auto more = SpatialPads(*pad);
    if (!more.ok()) continue;
    ASSIGN_OR_RETURN(const AxisNumbers own, node->Ints("pads", AxisNumbers(more->size(), 0)));
    std::vector<int64_t> pads = *more;
    for (size_t i = 0; i < pads.size() && auto_pad == "NOTSET"; ++i) pads[i] += own[i];
    node->attrs["pads"] = std::move(pads);
    node->attrs.erase("auto_pad");
    graph.SetInput(node, 0, pad->inputs[0]);
  }
  return absl::OkStatus();
}

}  // namespace hachi
