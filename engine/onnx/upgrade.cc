#include "engine/onnx/upgrade.h"

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "engine/base/status_macros.h"

namespace hachi {
namespace {

// An attribute that became an input.
struct Move {
  std::string_view op;
  int64_t since;  // the opset in which it is an input
  std::string_view attr;
  size_t input;
};

constexpr Move kMoves[] = {
    {"Clip", 11, "min", 1},        {"Clip", 11, "max", 2},          {"Dropout", 12, "ratio", 1},
    {"Pad", 11, "pads", 1},        {"Pad", 11, "value", 2},         {"ReduceL1", 18, "axes", 1},
    {"ReduceL2", 18, "axes", 1},   {"ReduceLogSum", 18, "axes", 1}, {"ReduceLogSumExp", 18, "axes", 1},
    {"ReduceMax", 18, "axes", 1},  {"ReduceMean", 18, "axes", 1},   {"ReduceMin", 18, "axes", 1},
    {"ReduceProd", 18, "axes", 1}, {"ReduceSum", 13, "axes", 1},    {"ReduceSumSquare", 18, "axes", 1},
    {"Slice", 10, "starts", 1},    {"Slice", 10, "ends", 2},        {"Slice", 10, "axes", 3},
    {"Split", 13, "split", 1},     {"Squeeze", 13, "axes", 1},      {"TopK", 10, "k", 1},
    {"Unsqueeze", 13, "axes", 1},  {"Upsample", 9, "scales", 1},
};

// Lists become vectors; a float a scalar; an integer (TopK's k) a vector of one.
absl::StatusOr<Tensor> AttrTensor(const Attr& attr) {
  if (const auto* integer = std::get_if<int64_t>(&attr)) return Tensor::Of<int64_t>({1}, {*integer});
  if (const auto* number = std::get_if<float>(&attr)) return Tensor::Of<float>({}, {*number});
  if (const auto* integers = std::get_if<std::vector<int64_t>>(&attr))
    return Tensor::Of<int64_t>({static_cast<int64_t>(integers->size())}, *integers);
  if (const auto* numbers = std::get_if<std::vector<float>>(&attr))
    return Tensor::Of<float>({static_cast<int64_t>(numbers->size())}, *numbers);
  return absl::InvalidArgumentError("is no number or list of numbers, expected one");
}

absl::Status MoveAttrs(Graph& graph, Node& node, int64_t opset) {
  for (const Move& move : kMoves) {
    const auto attr = node.attrs.find(std::string(move.attr));
    if (move.op != node.op || opset >= move.since || attr == node.attrs.end()) continue;
    auto tensor = AttrTensor(attr->second);
    if (!tensor.ok()) return WithContext(tensor.status(), absl::StrCat("attribute '", attr->first, "'"));
    if (node.input(move.input) != nullptr)
      return absl::InvalidArgumentError(
          absl::StrCat("attribute '", attr->first, "' is also input ", move.input, ", expected one of them"));
    const std::string name = graph.UniqueValueName(absl::StrCat(node.output()->name, "_", attr->first));
    graph.SetInput(&node, move.input,
                   graph.AddConstant(name, std::make_shared<const Tensor>(*std::move(tensor))));
    node.attrs.erase(attr);
  }
  return absl::OkStatus();
}

// Until opset 10 enlarging copied the element at the rounded-down place and shrinking, in Resize, the one at
// the rounded-up place. The newest form says the rule once for all axes.
absl::Status UpgradeResize10(Graph& graph, Node& node) {
  Value* scales = node.input(1);
  if (scales == nullptr) return absl::InvalidArgumentError("has no scales, expected them");
  ASSIGN_OR_RETURN(const std::string mode, node.String("mode", "nearest"));
  bool shrinks = false, enlarges = node.op == "Upsample";
  if (scales->is_constant() && scales->dtype == DType::kF32) {
    for (const float scale : scales->constant->As<float>()) {
      shrinks = shrinks || scale < 1;
      enlarges = enlarges || scale > 1;
    }
  } else {
    shrinks = node.op == "Resize";
    enlarges = true;
  }
  if (mode == "nearest" && shrinks && enlarges)
    return absl::UnimplementedError(
        "resizes to the nearest in the manner of opset 10 by scales that are computed or shrink one axis and "
        "enlarge another, which we do not support");
  node.op = "Resize";
  graph.SetInput(&node, 2, scales);
  graph.SetInput(&node, 1, nullptr);
  node.attrs["coordinate_transformation_mode"] = "asymmetric";
  node.attrs["nearest_mode"] = shrinks ? "ceil" : "floor";
  return absl::OkStatus();
}

// Until opset 12 the operator saw a matrix: dimensions before `axis` by dimensions from it on.
absl::Status UpgradeSoftmax(Node& node) {
  ASSIGN_OR_RETURN(const int64_t axis, node.Int("axis", 1));
  node.attrs["axis"] = axis;
  if (axis != -1) node.attrs["matrix"] = int64_t{1};
  return absl::OkStatus();
}

absl::Status UpgradeBatchNormalization(Node& node) {
  ASSIGN_OR_RETURN(const int64_t spatial, node.Int("spatial", 1));
  ASSIGN_OR_RETURN(const int64_t training, node.Int("training_mode", 0));
  if (spatial == 0)
    return absl::UnimplementedError("normalises each element by itself (spatial is 0), expected spatial 1");
  if (training != 0)
    return absl::UnimplementedError("was exported in training mode (training_mode is 1), expected 0");
  node.attrs.erase("spatial");
  return absl::OkStatus();
}

absl::Status UpgradeNode(Graph& graph, Node& node, int64_t opset) {
  RETURN_IF_ERROR(MoveAttrs(graph, node, opset));
  const std::string& op = node.op;
  if (op == "BatchNormalization") return UpgradeBatchNormalization(node);
  if (op == "Upsample" || (op == "Resize" && opset < 11)) return UpgradeResize10(graph, node);
  if (op == "Resize") {
    for (size_t i = 1; i < node.inputs.size(); ++i)  // opset 11 wrote what is left out as an empty tensor
      if (node.inputs[i] != nullptr && node.inputs[i]->is_constant() &&
          node.inputs[i]->constant->count() == 0)
        graph.SetInput(&node, i, nullptr);
  }
  if (opset < 13 && (op == "Softmax" || op == "LogSoftmax" || op == "Hardmax")) return UpgradeSoftmax(node);
  if (op == "Split" && opset < 18 && node.input(1) == nullptr)
    node.attrs["num_outputs"] = static_cast<int64_t>(node.outputs.size());
  if (op == "RoiAlign" && opset < 16) node.attrs["coordinate_transformation_mode"] = "output_half_pixel";
  if (op == "GridSample" && opset < 20) {
    const auto mode = node.String("mode", "bilinear");
    RETURN_IF_ERROR(mode.status());
    node.attrs["mode"] = *mode == "bilinear" ? "linear" : *mode == "bicubic" ? "cubic" : *mode;
  }
  if (op == "Scatter") node.op = "ScatterElements";
  if (op == "GroupNormalization" && opset < 21)
    return absl::UnimplementedError(
        "GroupNormalization of opset 18 scales groups, expected that of opset 21");
  return absl::OkStatus();
}

}  // namespace

absl::Status Upgrade(Graph& graph, int64_t opset) {
  for (Node* node : graph.NodeList()) {
    const std::string op = node->op;
    RETURN_IF_ERROR(WithContext(UpgradeNode(graph, *node, opset),
                                absl::StrCat("node '", node->name, "': ", op, " of opset ", opset)));
  }
  return absl::OkStatus();
}

}  // namespace hachi
