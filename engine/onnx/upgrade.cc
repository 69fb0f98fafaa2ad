#include "engine/onnx/upgrade.h"

#include <algorithm>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "engine/base/status_macros.h"
#include "engine/onnx/decompose.h"
#include "engine/onnx/functions.h"

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
    {"Reshape", 5, "shape", 1},    {"Slice", 10, "starts", 1},      {"Slice", 10, "ends", 2},
    {"Slice", 10, "axes", 3},      {"Split", 13, "split", 1},       {"Squeeze", 13, "axes", 1},
    {"TopK", 10, "k", 1},          {"Unsqueeze", 13, "axes", 1},    {"Upsample", 9, "scales", 1},
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

bool Broadcasts(const std::string& op) {
  static constexpr std::string_view kOps[] = {"Add", "Sub", "Mul",   "Div",     "Pow", "And",
                                              "Or",  "Xor", "Equal", "Greater", "Less"};
  return std::ranges::find(kOps, op) != std::end(kOps);
}

// Until opset 6 the second operand was told where it lies along the first one's axes.
absl::Status UpgradeBroadcast(Graph& graph, Node& node) {
  ASSIGN_OR_RETURN(const int64_t broadcast, node.Int("broadcast", 0));
  const auto axis = node.attrs.find("axis");
  if (broadcast != 0 && axis != node.attrs.end() && node.input(0) != nullptr && node.input(1) != nullptr) {
    const std::string name = absl::StrCat(node.name, "_aligned");
    Node* align = graph.AddNode("AlignAxes", graph.UniqueNodeName(name), {node.inputs[1], node.inputs[0]},
                                {graph.UniqueValueName(name)}, {{"axis", axis->second}}, &node);
    graph.SetInput(&node, 1, align->output());
  }
  node.attrs.erase("axis");
  node.attrs.erase("broadcast");
  return absl::OkStatus();
}

// Until opset 5 types had names here.
absl::Status UpgradeCast(Node& node) {
  static constexpr std::string_view kTypes[] = {"UNDEFINED", "FLOAT",  "UINT8",  "INT8",   "UINT16",
                                                "INT16",     "INT32",  "INT64",  "STRING", "BOOL",
                                                "FLOAT16",   "DOUBLE", "UINT32", "UINT64"};
  const auto to = node.attrs.find("to");
  if (to == node.attrs.end() || !std::holds_alternative<std::string>(to->second)) return absl::OkStatus();
  const auto found = std::ranges::find(kTypes, std::get<std::string>(to->second));
  if (found == std::end(kTypes))
    return absl::InvalidArgumentError(absl::StrCat("attribute 'to' is '", std::get<std::string>(to->second),
                                                   "', expected the name of an element type"));
  int64_t type = found - std::begin(kTypes);
  if (type == 10 || type == 11) type = 1;  // floats.h
  to->second = type;
  return absl::OkStatus();
}

// Opset 1 told how often one axis is repeated.
absl::Status UpgradeTile1(Graph& graph, Node& node) {
  const auto number = [&](size_t i) -> absl::StatusOr<int64_t> {
    const Value* value = node.input(i);
    if (value == nullptr || !value->is_constant() || value->constant->count() != 1)
      return absl::UnimplementedError("has computed tiles or axis, expected constants");
    const TensorView view = value->constant->view();
    if (view.dtype == DType::kS64) return view.As<int64_t>()[0];
    if (view.dtype == DType::kF32) return static_cast<int64_t>(view.As<float>()[0]);
    return absl::InvalidArgumentError("has tiles or axis of another type than f32 or s64, expected those");
  };
  ASSIGN_OR_RETURN(const int64_t tiles, number(1));
  ASSIGN_OR_RETURN(node.attrs["axis"], number(2));
  graph.SetInput(&node, 2, nullptr);
  node.inputs.pop_back();
  graph.SetInput(&node, 1,
                 graph.AddConstant(graph.UniqueValueName(absl::StrCat(node.name, "_tiles")),
                                   std::make_shared<const Tensor>(Tensor::Of<int64_t>({1}, {tiles}))));
  return absl::OkStatus();
}

// The operators of opset 6 and older in the form of opset 7.
absl::Status UpgradeTo7(Graph& graph, Node& node, int64_t opset) {
  node.attrs.erase("consumed_inputs");
  node.attrs.erase("is_test");
  if (Broadcasts(node.op)) return UpgradeBroadcast(graph, node);
  if (node.op == "Cast") return UpgradeCast(node);
  if (node.op == "Concat" && opset < 4 && !node.attrs.contains("axis")) node.attrs["axis"] = int64_t{1};
  if (node.op == "Gemm") node.attrs.erase("broadcast");
  if (node.op == "PRelu") {  // slopes were those of channels
    node.attrs["broadcast"] = int64_t{1};
    node.attrs["axis"] = int64_t{1};
    return UpgradeBroadcast(graph, node);
  }
  if (node.op == "Pad" && node.attrs.contains("paddings")) {
    node.attrs["pads"] = node.attrs["paddings"];
    node.attrs.erase("paddings");
  }
  if (node.op == "Tile" && opset < 6 && node.inputs.size() == 3) return UpgradeTile1(graph, node);
  if (node.op == "Upsample" && node.attrs.contains("height_scale")) {
    ASSIGN_OR_RETURN(const float height, node.Float("height_scale", 1));
    ASSIGN_OR_RETURN(const float width, node.Float("width_scale", 1));
    node.attrs["scales"] = std::vector<float>{1, 1, height, width};
    node.attrs.erase("height_scale");
    node.attrs.erase("width_scale");
  }
  return absl::OkStatus();
}

absl::Status UpgradeNode(Graph& graph, Node& node, int64_t opset) {
  ASSIGN_OR_RETURN(opset, node.Int(kOpsetAttr, opset));
  node.attrs.erase(std::string(kOpsetAttr));
  if (opset < 7) RETURN_IF_ERROR(UpgradeTo7(graph, node, opset));
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
  if (op == "GroupNormalization" && opset < 21) node.attrs["scales_groups"] = int64_t{1};
  return absl::OkStatus();
}

}  // namespace

absl::Status Upgrade(Graph& graph, int64_t opset) {
  for (Node* node : graph.NodeList()) {
    const std::string op = node->op;
    const std::string where = absl::StrCat("node '", node->name, "': ", op, " of opset ", opset);
    RETURN_IF_ERROR(WithContext(UpgradeNode(graph, *node, opset), where));
    RETURN_IF_ERROR(WithContext(Decompose(graph, *node).status(), where));
  }
  return absl::OkStatus();
}

}  // namespace hachi
