#pragma once

#include <onnx/onnx_pb.h>

#include <string>
#include <vector>

#include "engine/base/status_macros.h"
#include "engine/onnx/import.h"
#include "tests/support/temp_dir.h"

namespace hachi {

// Writes ONNX messages the way exporters do; what it does not offer is done on `proto`.
class ModelBuilder {
 public:
  explicit ModelBuilder(int64_t opset = 17) {
    proto.set_ir_version(8);
    proto.add_opset_import()->set_version(opset);
    proto.mutable_graph()->set_name("net");
  }

  // Dimensions are numbers or names; "" is one without either.
  void Input(const std::string& name, const std::vector<std::string>& dims,
             int type = onnx::TensorProto::FLOAT) {
    auto* tensor = AddInput(name)->mutable_type()->mutable_tensor_type();
    tensor->set_elem_type(type);
    tensor->mutable_shape();
    for (const std::string& text : dims) {
      auto* dim = tensor->mutable_shape()->add_dim();
      if (!text.empty() && text.find_first_not_of("-0123456789") == std::string::npos)
        dim->set_dim_value(std::stoll(text));
      else if (!text.empty())
        dim->set_dim_param(text);
    }
  }
  onnx::ValueInfoProto* AddInput(const std::string& name) {
    auto* input = proto.mutable_graph()->add_input();
    input->set_name(name);
    return input;
  }

  void Output(const std::string& name) { proto.mutable_graph()->add_output()->set_name(name); }

  onnx::TensorProto* Floats(const std::string& name, const std::vector<int64_t>& dims,
                            const std::vector<float>& values) {
    auto* tensor = proto.mutable_graph()->add_initializer();
    tensor->set_name(name);
    tensor->set_data_type(onnx::TensorProto::FLOAT);
    tensor->mutable_dims()->Add(dims.begin(), dims.end());
    tensor->mutable_raw_data()->assign(reinterpret_cast<const char*>(values.data()), values.size() * 4);
    return tensor;
  }
  onnx::TensorProto* Int64s(const std::string& name, const std::vector<int64_t>& values) {
    auto* tensor = proto.mutable_graph()->add_initializer();
    tensor->set_name(name);
    tensor->set_data_type(onnx::TensorProto::INT64);
    tensor->add_dims(static_cast<int64_t>(values.size()));
    tensor->mutable_int64_data()->Add(values.begin(), values.end());
    return tensor;
  }

  onnx::NodeProto* Node(const std::string& op, const std::vector<std::string>& inputs,
                        const std::vector<std::string>& outputs, const std::string& name = "") {
    auto* node = proto.mutable_graph()->add_node();
    node->set_op_type(op);
    node->set_name(name);
    for (const auto& input : inputs) node->add_input(input);
    for (const auto& output : outputs) node->add_output(output);
    return node;
  }

  std::string Bytes() const { return proto.SerializeAsString(); }

  absl::StatusOr<Graph> Import() const {
    const TempDir directory;
    ASSIGN_OR_RETURN(ImportedModel imported, ImportOnnx(directory.Write("model.onnx", Bytes())));
    return std::move(imported.graph);
  }

  onnx::ModelProto proto;
};

inline onnx::AttributeProto* AddAttr(onnx::NodeProto* node, const std::string& name,
                                     onnx::AttributeProto::AttributeType type) {
  auto* attr = node->add_attribute();
  attr->set_name(name);
  attr->set_type(type);
  return attr;
}
inline void SetInt(onnx::NodeProto* node, const std::string& name, int64_t value) {
  AddAttr(node, name, onnx::AttributeProto::INT)->set_i(value);
}
inline void SetFloat(onnx::NodeProto* node, const std::string& name, float value) {
  AddAttr(node, name, onnx::AttributeProto::FLOAT)->set_f(value);
}
inline void SetString(onnx::NodeProto* node, const std::string& name, const std::string& value) {
  AddAttr(node, name, onnx::AttributeProto::STRING)->set_s(value);
}
inline void SetInts(onnx::NodeProto* node, const std::string& name, const std::vector<int64_t>& values) {
  AddAttr(node, name, onnx::AttributeProto::INTS)->mutable_ints()->Add(values.begin(), values.end());
}

// A branch of an If that applies one operator to `x`, a value of the graph around it, and calls the result
// `output`.
inline void AddBranch(onnx::NodeProto* node, const std::string& branch, const std::string& op,
                      const std::string& output) {
  auto* graph = AddAttr(node, branch, onnx::AttributeProto::GRAPH)->mutable_g();
  graph->set_name(branch);
  auto* inner = graph->add_node();
  inner->set_op_type(op);
  inner->add_input("x");
  inner->add_output(output);
  graph->add_output()->set_name(output);
}

}  // namespace hachi
