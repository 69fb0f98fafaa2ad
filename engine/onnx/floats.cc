#include "engine/onnx/floats.h"

#include <onnx/onnx_pb.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "engine/onnx/tensor_proto.h"
#include "engine/tensor/half.h"

namespace hachi {
namespace {

bool IsOtherFloat(DType dtype) {
  return dtype == DType::kF16 || dtype == DType::kBF16 || dtype == DType::kF64;
}

bool IsOtherFloat(int64_t onnx_type) {
  return onnx_type == onnx::TensorProto::FLOAT16 || onnx_type == onnx::TensorProto::BFLOAT16 ||
         onnx_type == onnx::TensorProto::DOUBLE;
}

std::shared_ptr<const Tensor> InFp32(const Tensor& tensor) {
  auto converted = std::make_shared<Tensor>(DType::kF32, tensor.shape());
  const std::span<float> out = converted->As<float>();
  const std::byte* in = tensor.bytes().data();
  for (size_t i = 0; i < out.size(); ++i) {
    if (tensor.dtype() == DType::kF64) {
      out[i] = static_cast<float>(reinterpret_cast<const double*>(in)[i]);
    } else {
      const uint16_t bits = reinterpret_cast<const uint16_t*>(in)[i];
      out[i] = tensor.dtype() == DType::kF16 ? FloatOfF16(bits) : FloatOfBf16(bits);
    }
  }
  return converted;
}

// Attributes that are ONNX's number of an element type.
bool IsTypeAttr(const Node& node, const std::string& name) {
  return (node.op == "Cast" && name == "to") || (node.op == "EyeLike" && name == "dtype");
}

}  // namespace

absl::Status UnifyFloats(Graph& graph) {
  for (const auto& [name, value] : graph.values()) {
    if (!value->is_constant() || !IsOtherFloat(value->dtype)) continue;
    value->constant = InFp32(*value->constant);
    value->dtype = DType::kF32;
  }
  for (const auto& node : graph.nodes()) {
    for (auto& [name, attr] : node->attrs) {
      if (auto* tensor = std::get_if<std::shared_ptr<const Tensor>>(&attr);
          tensor != nullptr && IsOtherFloat((*tensor)->dtype()))
        *tensor = InFp32(**tensor);
      if (auto* type = std::get_if<int64_t>(&attr);
          type != nullptr && IsTypeAttr(*node, name) && IsOtherFloat(*type))
        *type = onnx::TensorProto::FLOAT;
    }
  }
  for (Value* input : graph.inputs()) {
    if (!IsOtherFloat(input->dtype)) continue;
    const std::vector<Node*> users = input->users;
    if (users.empty()) continue;
    Node* cast = graph.AddNode("Cast", graph.UniqueNodeName(absl::StrCat(input->name, "_f32")), {input},
                               {graph.UniqueValueName(absl::StrCat(input->name, "_f32"))},
                               {{"to", int64_t{onnx::TensorProto::FLOAT}}}, graph.nodes().front().get());
    for (Node* user : users)
      for (size_t i = 0; i < user->inputs.size(); ++i)
        if (user->inputs[i] == input) graph.SetInput(user, i, cast->output());
  }
  return absl::OkStatus();
}

absl::StatusOr<Value*> InDeclaredFloats(Graph& graph, Value* value, int onnx_type) {
  if (!IsOtherFloat(int64_t{onnx_type})) return value;
  auto declared = ToDType(onnx_type);
  if (!declared.ok()) return declared.status();
  if (value->dtype == *declared && !value->is_constant()) return value;  // an input as it came
  const std::string name = absl::StrCat(value->name, "_as_declared");
  return graph
      .AddNode("Cast", graph.UniqueNodeName(name), {value}, {graph.UniqueValueName(name)},
               {{"to", int64_t{onnx_type}}})
      ->output();
}

}  // namespace hachi
