#include "engine/onnx/functions.h"

#include <onnx/defs/schema.h>

#include <algorithm>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "engine/base/status_macros.h"

namespace hachi {
namespace {

constexpr int kMaxDepth = 16;                    // of functions that call functions
constexpr size_t kMaxBytes = size_t{512} << 20;  // of all bodies where they are called: constants are copied
constexpr int kNewestKnownOpset = 17;            // libonnx's

// What a body's names become where it is called.
class Renaming {
 public:
  Renaming(const onnx::FunctionProto& function, const onnx::NodeProto& call, std::string prefix)
      : prefix_(std::move(prefix)) {
    for (int i = 0; i < function.input_size(); ++i)
      names_[function.input(i)] = i < call.input_size() ? call.input(i) : "";
    for (int i = 0; i < function.output_size(); ++i)
      if (i < call.output_size() && !call.output(i).empty()) names_[function.output(i)] = call.output(i);
  }

  std::string Of(const std::string& name) const {
    if (name.empty()) return name;
    const auto found = names_.find(name);
    return found != names_.end() ? found->second : absl::StrCat(prefix_, name);
  }

 private:
  const std::string prefix_;
  std::map<std::string, std::string> names_;
};

class Inliner {
 public:
  Inliner(onnx::ModelProto& model, KnownOp known, int max_nodes)
      : model_(model), known_(known), max_nodes_(max_nodes) {
    for (const auto& function : model.functions())
      functions_[{function.domain(), function.name()}] = &function;
    for (const auto& import : model.opset_import())
      if (import.domain().empty() || import.domain() == "ai.onnx") opset_ = import.version();
    AddReads(model.graph());
  }

  absl::Status Run() { return InlineGraph(*model_.mutable_graph(), 0, opset_); }

 private:
  // `depth` counts the functions around the graph, `opset` is that of its nodes.
  absl::Status InlineGraph(onnx::GraphProto& graph, int depth, int64_t opset) {
    google::protobuf::RepeatedPtrField<onnx::NodeProto> nodes;
    nodes.Swap(graph.mutable_node());
    for (auto& node : nodes) RETURN_IF_ERROR(Append(std::move(node), depth, opset, *graph.mutable_node()));
    return absl::OkStatus();
  }

  absl::Status Append(onnx::NodeProto node, int depth, int64_t opset,
                      google::protobuf::RepeatedPtrField<onnx::NodeProto>& nodes) {
    if (++count_ > max_nodes_)
      return absl::ResourceExhaustedError(
          absl::StrCat("functions make more than ", max_nodes_, " nodes, expected at most that"));
    onnx::FunctionProto built;
    const onnx::FunctionProto* function = FunctionOf(node, opset, built);
    if (function == nullptr) {
      for (auto& attribute : *node.mutable_attribute())
        if (attribute.has_g()) RETURN_IF_ERROR(InlineGraph(*attribute.mutable_g(), depth, opset));
      *nodes.Add() = std::move(node);
      return absl::OkStatus();
    }
    const std::string name = absl::StrCat("function '", function->name(), "'");
    if (depth == kMaxDepth)
      return absl::InvalidArgumentError(
          absl::StrCat(name, " is called from ", depth, " functions within each other, expected fewer"));
    if (node.input_size() > function->input_size() || node.output_size() > function->output_size())
      return absl::InvalidArgumentError(absl::StrCat("node '", node.name(), "' calls ", name, " with ",
                                                     node.input_size(), " inputs and ", node.output_size(),
                                                     " outputs, expected at most ", function->input_size(),
                                                     " and ", function->output_size()));
    int64_t body_opset = opset;
    for (const auto& import : function->opset_import())
      if (import.domain().empty() || import.domain() == "ai.onnx") body_opset = import.version();
    const std::string prefix =
        absl::StrCat(node.name().empty() ? function->name() : node.name(), "/", ++calls_, "/");
    const Renaming renaming(*function, node, prefix);
    for (onnx::NodeProto inner : function->node()) {  // a copy, to be changed
      Rename(inner, renaming, node, body_opset);
      inner.set_name(absl::StrCat(prefix, inner.name().empty() ? inner.op_type() : inner.name()));
      bytes_ += inner.ByteSizeLong();
      if (bytes_ > kMaxBytes)
        return absl::ResourceExhaustedError(absl::StrCat("functions are written out to more than ", kMaxBytes,
                                                         " bytes, expected at most that"));
      RETURN_IF_ERROR(Append(std::move(inner), depth + 1, body_opset, nodes));
    }
    return absl::OkStatus();
  }

  // What a call says of an attribute of the function; where it says nothing, what ONNX says of the operator;
  // else null.
  static const onnx::AttributeProto* Given(const onnx::NodeProto& call, const std::string& name) {
    for (const auto& given : call.attribute())
      if (given.name() == name) return &given;
    if (!call.domain().empty() && call.domain() != "ai.onnx") return nullptr;
    const onnx::OpSchema* schema = onnx::OpSchemaRegistry::Schema(call.op_type(), kNewestKnownOpset, "");
    if (schema == nullptr) return nullptr;
    const auto found = schema->attributes().find(name);
    const bool has_default =
        found != schema->attributes().end() && !found->second.default_value.name().empty();
    return has_default ? &found->second.default_value : nullptr;
  }

  // The names and attributes of a body's node as the call has them.
  static void Rename(onnx::NodeProto& node, const Renaming& renaming, const onnx::NodeProto& call,
                     int64_t opset) {
    for (std::string& input : *node.mutable_input()) input = renaming.Of(input);
    for (std::string& output : *node.mutable_output()) output = renaming.Of(output);
    google::protobuf::RepeatedPtrField<onnx::AttributeProto> attributes;
    attributes.Swap(node.mutable_attribute());
    for (auto& attribute : attributes) {
      if (attribute.name() == kOpsetAttr) continue;
      if (!attribute.ref_attr_name().empty()) {
        if (const onnx::AttributeProto* given = Given(call, attribute.ref_attr_name())) {
          auto& taken = *node.add_attribute();
          taken = *given;
          taken.set_name(attribute.name());
        }
        continue;
      }
      if (attribute.has_g()) RenameGraph(*attribute.mutable_g(), renaming, call, opset);
      *node.add_attribute() = std::move(attribute);
    }
    auto& said = *node.add_attribute();
    said.set_name(std::string(kOpsetAttr));
    said.set_type(onnx::AttributeProto::INT);
    said.set_i(opset);
  }

  static void RenameGraph(onnx::GraphProto& graph, const Renaming& renaming, const onnx::NodeProto& call,
                          int64_t opset) {
    for (auto& value : *graph.mutable_input()) value.set_name(renaming.Of(value.name()));
    for (auto& value : *graph.mutable_output()) value.set_name(renaming.Of(value.name()));
    for (auto& tensor : *graph.mutable_initializer()) tensor.set_name(renaming.Of(tensor.name()));
    for (auto& node : *graph.mutable_node()) Rename(node, renaming, call, opset);
  }

  // Layer normalization that also gives mean and deviation is not the operator that we have.
  bool IsKnown(const onnx::NodeProto& node) const {
    const bool read =
        std::any_of(node.output().begin() + std::min(1, node.output_size()), node.output().end(),
                    [&](const std::string& name) { return read_.contains(name); });
    return known_(node.op_type()) && !(node.op_type() == "LayerNormalization" && read);
  }

  void AddReads(const onnx::GraphProto& graph) {
    for (const auto& node : graph.node()) {
      read_.insert(node.input().begin(), node.input().end());
      for (const auto& attribute : node.attribute())
        if (attribute.has_g()) AddReads(attribute.g());
    }
    for (const auto& output : graph.output()) read_.insert(output.name());
  }

  // The function that the node calls; null: it is an operator. What libonnx builds for it goes to `built`.
  const onnx::FunctionProto* FunctionOf(const onnx::NodeProto& node, int64_t opset,
                                        onnx::FunctionProto& built) {
    const auto own = functions_.find({node.domain(), node.op_type()});
    if (own != functions_.end()) return own->second;
    const bool standard = node.domain().empty() || node.domain() == "ai.onnx";
    if (!standard || known_ == nullptr || IsKnown(node)) return nullptr;
    const onnx::OpSchema* schema = onnx::OpSchemaRegistry::Schema(
        node.op_type(), static_cast<int>(std::min<int64_t>(opset, kNewestKnownOpset)), "");
    if (schema == nullptr) return nullptr;
    if (schema->HasFunction()) return schema->GetFunction();
    if (!schema->HasContextDependentFunction()) return nullptr;
    // Bodies differ in the floating-point type alone, and there is one (floats.h).
    onnx::TypeProto real;
    real.mutable_tensor_type()->set_elem_type(onnx::TensorProto::FLOAT);
    const std::vector<onnx::TypeProto> types(static_cast<size_t>(node.input_size()), real);
    const onnx::FunctionBodyBuildContextImpl context(node, types);
    return schema->BuildContextDependentFunction(context, built) ? &built : nullptr;
  }

  onnx::ModelProto& model_;
  const KnownOp known_;
  const int max_nodes_;
  int64_t opset_ = 0;
  std::set<std::string> read_;  // names that the model's graphs read
  int count_ = 0, calls_ = 0;
  size_t bytes_ = 0;  // of what bodies became, constants and names included
  std::map<std::pair<std::string, std::string>, const onnx::FunctionProto*> functions_;  // by domain and name
};

}  // namespace

absl::Status InlineFunctions(onnx::ModelProto& model, KnownOp known, int max_nodes) {
  return Inliner(model, known, max_nodes).Run();
}

}  // namespace hachi
