#include "engine/onnx/import.h"

#include <onnx/onnx_pb.h>

#include <algorithm>
#include <cctype>
#include <map>
#include <new>
#include <optional>
#include <set>
#include <span>
#include <unordered_map>
#include <unordered_set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/base/file.h"
#include "engine/base/status_macros.h"
#include "engine/base/text.h"
#include "engine/onnx/external_data.h"
#include "engine/onnx/floats.h"
#include "engine/onnx/functions.h"
#include "engine/onnx/model_file.h"
#include "engine/onnx/tensor_proto.h"
#include "engine/onnx/upgrade.h"

namespace hachi {
namespace {

constexpr int64_t kFirstIrOfOpsets = 3, kOldestOpset = 1, kNewestOpset = 23;
constexpr int kMaxNodes = 100'000;  // ten times the largest vision or text encoder that we know
constexpr int kMaxEnds = 1 << 14;   // inputs or outputs of a node
constexpr size_t kMaxSymbolBytes = 100;
constexpr std::string_view kContribDomain = "com.microsoft";  // ONNX Runtime's own operators

bool IsDefaultDomain(const std::string& domain) { return domain.empty() || domain == "ai.onnx"; }

// Hands out names that none of the reserved ones or the ones given before has.
class Names {
 public:
  void Reserve(const std::string& name) { taken_.insert(name); }
  std::string Fresh(const std::string& base) {
    std::string name = base;
    for (int& i = next_[base]; !taken_.insert(name).second; ++i) name = absl::StrCat(base, "_", i + 2);
    return name;
  }

 private:
  std::unordered_set<std::string> taken_;
  std::unordered_map<std::string, int> next_;
};

// Turns one parsed model into a Graph. Elements of constants are released from the message as they are
// copied.
class Importer {
 public:
  Importer(ModelFile& file, const std::filesystem::path& directory)
      : Importer(file.model, *file.model.mutable_graph(), directory, nullptr) {
    elements_ = file.elements;
  }

  absl::StatusOr<Graph> Run(KnownOp known) {
    ASSIGN_OR_RETURN(const int64_t opset, CheckModel());
    RETURN_IF_ERROR(InlineFunctions(model_, known, kMaxNodes));
    return Build(opset);
  }

 private:
  // Of the model's graph (`parent` null), or of a branch of one of a graph's nodes.
  Importer(onnx::ModelProto& model, onnx::GraphProto& graph, const std::filesystem::path& directory,
           Importer* parent)
      : proto_(graph),
        model_(model),
        directory_(directory),
        parent_(parent),
        graph_(proto_.name().empty() ? "graph" : proto_.name()) {}

  absl::StatusOr<Graph> Build(int64_t opset) {
    RETURN_IF_ERROR(ReserveNames());
    RETURN_IF_ERROR(AddInitializers());
    RETURN_IF_ERROR(AddInputs());
    RETURN_IF_ERROR(AddNodes(opset));
    RETURN_IF_ERROR(LinkNodes(opset));
    RETURN_IF_ERROR(UnifyFloats(graph_));
    RETURN_IF_ERROR(AddOutputs());
    RETURN_IF_ERROR(graph_.Sort());
    RETURN_IF_ERROR(Upgrade(graph_, opset));
    RETURN_IF_ERROR(CheckAttrs());
    RETURN_IF_ERROR(graph_.Verify());
    return std::move(graph_);
  }

  // What is left in attributes are axes, sizes along axes and choices: no more than dimensions can be.
  // (Bounds of slices have become inputs.)
  absl::Status CheckAttrs() const {
    for (const auto& node : graph_.nodes())
      for (const auto& [name, attr] : node->attrs) {
        std::span<const int64_t> numbers;
        if (const auto* number = std::get_if<int64_t>(&attr)) numbers = {number, 1};
        if (const auto* list = std::get_if<std::vector<int64_t>>(&attr)) numbers = *list;
        for (const int64_t number : numbers)
          if (number < -kMaxDim || number > kMaxDim)
            return absl::InvalidArgumentError(absl::StrCat("node '", node->name, "' (", node->op,
                                                           "): attribute '", name, "' holds ", number,
                                                           ", expected ", -kMaxDim, " to ", kMaxDim));
      }
    return absl::OkStatus();
  }

  absl::StatusOr<int64_t> CheckModel() {
    int64_t opset = model_.ir_version() < kFirstIrOfOpsets && model_.opset_import().empty() ? 1 : 0;
    for (const auto& import : model_.opset_import()) {
      if (!IsDefaultDomain(import.domain())) continue;  // only a node that uses it is an error
      if (opset != 0 && opset != import.version())
        return absl::InvalidArgumentError(absl::StrCat("default domain is imported in versions ", opset,
                                                       " and ", import.version(), ", expected one"));
      opset = import.version();
    }
    if (opset == 0)
      return absl::InvalidArgumentError("the default domain is not imported, expected an opset version");
    if (opset < kOldestOpset || opset > kNewestOpset)
      return absl::UnimplementedError(
          absl::StrCat("opset is ", opset, ", expected ", kOldestOpset, " to ", kNewestOpset));
    if (proto_.sparse_initializer_size() > 0)
      return absl::UnimplementedError(
          "graph has sparse initializers, which we do not support, expected dense ones");
    if (proto_.node_size() > kMaxNodes)
      return absl::InvalidArgumentError(
          absl::StrCat("graph has ", proto_.node_size(), " nodes, expected at most ", kMaxNodes));
    return opset;
  }

  // Names of the file win over names that are made up: those avoid all of these.
  absl::Status ReserveNames() {
    const auto check = [](const char* what, const std::string& name) {
      if (IsPrintable(name)) return absl::OkStatus();
      return absl::InvalidArgumentError(
          absl::StrCat(what, " name of ", name.size(),
                       " bytes is not printable, expected UTF-8 without control characters"));
    };
    RETURN_IF_ERROR(check("graph", proto_.name()));
    for (const auto& initializer : proto_.initializer()) {
      RETURN_IF_ERROR(check("initializer", initializer.name()));
      value_names_.Reserve(initializer.name());
    }
    for (const auto& input : proto_.input()) {
      RETURN_IF_ERROR(check("input", input.name()));
      value_names_.Reserve(input.name());
    }
    for (const auto& node : proto_.node()) {
      RETURN_IF_ERROR(check("node", node.name()));
      RETURN_IF_ERROR(check("operator", node.op_type()));
      if (!node.name().empty()) node_names_.Reserve(node.name());
      AddReads(node);
      for (const std::string& output : node.output()) {
        RETURN_IF_ERROR(check("value", output));
        value_names_.Reserve(output);
      }
    }
    for (const auto& output : proto_.output()) read_.insert(output.name());
    return absl::OkStatus();
  }

  // The names that a node reads, in its branches too.
  void AddReads(const onnx::NodeProto& node) {
    for (const std::string& input : node.input())
      if (!input.empty()) read_.insert(input);
    for (const auto& attribute : node.attribute()) {
      for (const auto& inner : attribute.g().node()) AddReads(inner);
      for (const auto& output : attribute.g().output()) read_.insert(output.name());
    }
  }

  // The value of that name: the graph's own, or one of the graphs around it, which becomes an input of this
  // one.
  Value* Find(const std::string& name) {
    if (name.empty()) return nullptr;
    if (Value* own = graph_.FindValue(name)) return own;
    if (parent_ == nullptr || parent_->Find(name) == nullptr) return nullptr;
    return graph_.AddInput(name, DType::kF32, {});  // typed where the branch is taken
  }

  absl::Status NewDefinition(const char* what, const std::string& name) {
    if (name.empty()) return absl::InvalidArgumentError(absl::StrCat(what, " has no name, expected one"));
    if (graph_.FindValue(name) != nullptr)
      return absl::InvalidArgumentError(
          absl::StrCat(what, " '", name, "' is defined twice, expected one definition"));
    return absl::OkStatus();
  }

  absl::Status AddInitializers() {
    for (int i = 0; i < proto_.initializer_size(); ++i) {
      onnx::TensorProto& initializer = *proto_.mutable_initializer(i);
      RETURN_IF_ERROR(NewDefinition("initializer", initializer.name()));
      const auto index = static_cast<size_t>(i);
      absl::StatusOr<Tensor> tensor = index < elements_.size() && elements_[index]
                                          ? *std::exchange(elements_[index], std::nullopt)
                                          : ToTensor(initializer, &directory_);
      if (!tensor.ok())
        return WithContext(tensor.status(), absl::StrCat("initializer '", initializer.name(), "'"));
      graph_.AddConstant(initializer.name(), std::make_shared<const Tensor>(*std::move(tensor)));
      std::string name = std::move(*initializer.mutable_name());
      initializer.Clear();
      initializer.set_name(std::move(name));
    }
    return absl::OkStatus();
  }

  // Inputs that an initializer gives a value are constants: clients don't send weights.
  absl::Status AddInputs() {
    if (parent_ != nullptr && proto_.input_size() > 0)
      return absl::InvalidArgumentError("a branch has inputs, expected none");
    std::vector<const onnx::ValueInfoProto*> inputs;
    std::set<std::string> seen;
    for (const auto& input : proto_.input()) {
      if (!seen.insert(input.name()).second)
        return absl::InvalidArgumentError(
            absl::StrCat("input '", input.name(), "' is listed twice, expected once"));
      if (graph_.FindValue(input.name()) == nullptr) inputs.push_back(&input);
      for (const auto& dim :
           input.type().tensor_type().shape().dim())  // before made-up symbols take the name
        if (IsNamed(dim)) SymbolOf(dim.dim_param());
    }
    for (const onnx::ValueInfoProto* input : inputs)
      RETURN_IF_ERROR(WithContext(AddInput(*input), absl::StrCat("input '", input->name(), "'")));
    return absl::OkStatus();
  }

  absl::Status AddInput(const onnx::ValueInfoProto& input) {
    RETURN_IF_ERROR(NewDefinition("input", input.name()));
    if (input.type().value_case() == onnx::TypeProto::VALUE_NOT_SET)
      return absl::InvalidArgumentError("has no type, expected one");
    if (!input.type().has_tensor_type())
      return absl::UnimplementedError(
          "is a sequence, map, optional or sparse tensor, expected a dense tensor");
    const auto& type = input.type().tensor_type();
    ASSIGN_OR_RETURN(const DType dtype, ToDType(type.elem_type()));
    if (!type.has_shape())
      return absl::UnimplementedError("has no shape, expected at least its number of dimensions");
    if (static_cast<size_t>(type.shape().dim_size()) > kMaxRank)
      return absl::InvalidArgumentError(
          absl::StrCat("has ", type.shape().dim_size(), " dimensions, expected at most ", kMaxRank));
    SymbolicShape dims;
    for (const auto& dim : type.shape().dim()) {
      if (IsNamed(dim))
        dims.push_back(Dim::Symbol(SymbolOf(dim.dim_param())));
      else if (dim.has_dim_value() && dim.dim_value() >= 0)
        dims.emplace_back(dim.dim_value());
      else
        dims.push_back(Dim::Symbol(UnnamedSymbol(/*outermost=*/dims.empty())));
    }
    RETURN_IF_ERROR(CheckShape(ConstantDims(dims), SizeOf(dtype)));
    graph_.AddInput(input.name(), dtype, std::move(dims));
    return absl::OkStatus();
  }

  static Shape ConstantDims(const SymbolicShape& dims) {
    Shape shape;
    for (const Dim& dim : dims)
      if (dim.constant()) shape.push_back(*dim.constant());
    return shape;
  }

  // Some exporters write "?" for a dimension without a name.
  static bool IsNamed(const onnx::TensorShapeProto::Dimension& dim) {
    return !dim.dim_param().empty() && dim.dim_param() != "?";
  }

  // The symbol for a dim_param: its identifier characters, and another one for another dim_param.
  std::string SymbolOf(const std::string& dim_param) {
    const auto found = symbols_.find(dim_param);
    if (found != symbols_.end()) return found->second;
    std::string name;
    for (const char c : dim_param) {
      const bool identifier = c == '_' || (static_cast<unsigned char>(c) < 0x80 && std::isalnum(c));
      name += identifier ? c : '_';
    }
    name.resize(std::min(name.size(), kMaxSymbolBytes));
    if (std::isdigit(static_cast<unsigned char>(name[0]))) name = absl::StrCat("d", name);
    return symbols_[dim_param] = symbol_names_.Fresh(name);
  }

  // Dimensions without a name are unrelated, as far as the file says.
  std::string UnnamedSymbol(bool outermost) { return symbol_names_.Fresh(outermost ? "N" : "D"); }

  absl::Status AddNodes(int64_t opset) {
    std::unordered_set<std::string> named;
    for (auto& proto : *proto_.mutable_node()) {
      const auto first = std::find_if(proto.output().begin(), proto.output().end(),
                                      [](const std::string& output) { return !output.empty(); });
      if (first == proto.output().end())
        return absl::InvalidArgumentError(
            absl::StrCat("node '", proto.name(), "' (", proto.op_type(), ") has no outputs, expected one"));
      const bool keeps_name = !proto.name().empty() && named.insert(proto.name()).second;
      const std::string name =
          keeps_name ? proto.name() : node_names_.Fresh(proto.name().empty() ? *first : proto.name());
      RETURN_IF_ERROR(WithContext(AddNode(proto, name, opset), absl::StrCat("node '", name, "'")));
    }
    return absl::OkStatus();
  }

  absl::Status AddNode(onnx::NodeProto& proto, const std::string& name, int64_t opset) {
    if (proto.op_type().empty()) return absl::InvalidArgumentError("has no operator, expected one");
    if (std::max(proto.input_size(), proto.output_size()) > kMaxEnds)
      return absl::InvalidArgumentError(absl::StrCat("has ", proto.input_size(), " inputs and ",
                                                     proto.output_size(), " outputs, expected at most ",
                                                     kMaxEnds, " of each"));
    if (!IsDefaultDomain(proto.domain()) && proto.domain() != kContribDomain)
      return absl::UnimplementedError(absl::StrCat("operator ", proto.op_type(), " is of domain '",
                                                   proto.domain(), "', expected the default domain"));
    std::map<std::string, Attr> attrs;
    for (auto& attribute : *proto.mutable_attribute()) {
      if (proto.op_type() == "If" && TypeOf(attribute) == onnx::AttributeProto::GRAPH) continue;  // LinkNodes
      auto attr = ToAttr(attribute);
      if (!attr.ok())
        return WithContext(attr.status(),
                           absl::StrCat(proto.op_type(), ": attribute '", attribute.name(), "'"));
      if (!attrs.emplace(attribute.name(), *std::move(attr)).second)
        return absl::InvalidArgumentError(
            absl::StrCat("attribute '", attribute.name(), "' is given twice, expected once"));
    }
    std::vector<std::string> outputs(proto.output().begin(), proto.output().end());
    RETURN_IF_ERROR(DropUnreadOutputs(proto.op_type(), opset, outputs));
    std::set<std::string> own;
    for (std::string& output : outputs) {
      if (output.empty()) output = value_names_.Fresh(absl::StrCat(name, "_unused"));
      RETURN_IF_ERROR(NewDefinition("output", output));
      if (!own.insert(output).second)
        return absl::InvalidArgumentError(
            absl::StrCat("output '", output, "' is listed twice, expected one definition"));
    }
    if (proto.op_type() == "Constant") return AddConstantNode(attrs, outputs);
    const std::string op = IsDefaultDomain(proto.domain())
                               ? proto.op_type()
                               : absl::StrCat(proto.domain(), ".", proto.op_type());
    nodes_.emplace_back(graph_.AddNode(op, name, {}, std::move(outputs), std::move(attrs)), &proto);
    return absl::OkStatus();
  }

  // Outputs behind the first that ONNX calls optional and that nothing reads, such as what batch
  // normalization gives to training.
  absl::Status DropUnreadOutputs(const std::string& op, int64_t opset, std::vector<std::string>& outputs) {
    static const std::set<std::string> optional_outputs = {
        "BatchNormalization", "Dropout", "LayerNormalization", "MaxPool", "GRU", "LSTM", "RNN"};
    if (!optional_outputs.contains(op)) return absl::OkStatus();
    while (outputs.size() > 1 && !read_.contains(outputs.back())) outputs.pop_back();
    if (op == "BatchNormalization" && outputs.size() > 1)
      return absl::UnimplementedError(absl::StrCat("BatchNormalization (opset ", opset, "): output '",
                                                   outputs.back(),
                                                   "' is for training, expected that nothing reads it"));
    return absl::OkStatus();
  }

  absl::Status AddConstantNode(std::map<std::string, Attr> attrs, const std::vector<std::string>& outputs) {
    attrs.erase(std::string(kOpsetAttr));
    if (attrs.size() != 1 || outputs.size() != 1)
      return absl::InvalidArgumentError(absl::StrCat("Constant has ", attrs.size(), " attributes and ",
                                                     outputs.size(), " outputs, expected one of each"));
    const auto& [key, attr] = *attrs.begin();
    std::shared_ptr<const Tensor> tensor;
    if (const auto* shared = std::get_if<std::shared_ptr<const Tensor>>(&attr)) {
      if (key == "value") tensor = *shared;
    } else if (const auto* integer = std::get_if<int64_t>(&attr)) {
      if (key == "value_int") tensor = std::make_shared<const Tensor>(Tensor::Of<int64_t>({}, {*integer}));
    } else if (const auto* number = std::get_if<float>(&attr)) {
      if (key == "value_float") tensor = std::make_shared<const Tensor>(Tensor::Of<float>({}, {*number}));
    } else if (const auto* integers = std::get_if<std::vector<int64_t>>(&attr)) {
      if (key == "value_ints")
        tensor = std::make_shared<const Tensor>(
            Tensor::Of<int64_t>({static_cast<int64_t>(integers->size())}, *integers));
    } else if (const auto* numbers = std::get_if<std::vector<float>>(&attr)) {
      if (key == "value_floats")
        tensor = std::make_shared<const Tensor>(
            Tensor::Of<float>({static_cast<int64_t>(numbers->size())}, *numbers));
    } else {
      return absl::UnimplementedError(
          absl::StrCat("Constant holds strings in '", key, "', expected numbers"));
    }
    if (tensor == nullptr)
      return absl::InvalidArgumentError(
          absl::StrCat("Constant: attribute '", key,
                       "' has another name or type, expected value, value_int, value_ints, "
                       "value_float or value_floats"));
    graph_.AddConstant(outputs[0], std::move(tensor));
    return absl::OkStatus();
  }

  absl::StatusOr<Attr> ToAttr(onnx::AttributeProto& proto) {
    using onnx::AttributeProto;
    if (proto.name().empty() || !IsPrintable(proto.name()))
      return absl::InvalidArgumentError("name is empty or not printable, expected a name");
    if (proto.has_ref_attr_name())
      return absl::InvalidArgumentError(
          "refers to a function's attribute, expected a value outside functions");
    switch (TypeOf(proto)) {
      case AttributeProto::INT:
        return Attr(static_cast<int64_t>(proto.i()));
      case AttributeProto::FLOAT:
        return Attr(proto.f());
      case AttributeProto::STRING:
        return Attr(proto.s());
      case AttributeProto::INTS:
        return Attr(std::vector<int64_t>(proto.ints().begin(), proto.ints().end()));
      case AttributeProto::FLOATS:
        return Attr(std::vector<float>(proto.floats().begin(), proto.floats().end()));
      case AttributeProto::STRINGS:
        return Attr(std::vector<std::string>(proto.strings().begin(), proto.strings().end()));
      case AttributeProto::TENSOR: {
        if (!proto.has_t()) return absl::InvalidArgumentError("has no tensor, expected one");
        ASSIGN_OR_RETURN(Tensor tensor, ToTensor(proto.t(), &directory_));
        proto.clear_t();
        return Attr(std::make_shared<const Tensor>(std::move(tensor)));
      }
      case AttributeProto::GRAPH:
      case AttributeProto::GRAPHS:
        return absl::UnimplementedError("is a graph (control flow), which we do not support");
      case AttributeProto::UNDEFINED:
        return absl::InvalidArgumentError("has neither type nor value, expected both");
      default:
        return absl::UnimplementedError(
            absl::StrCat("is of type ", AttributeProto::AttributeType_Name(proto.type()),
                         ", expected a number, a string, a dense tensor or a list of numbers or strings"));
    }
  }

  // Old exporters leave the type out; then the field that is there says it.
  static onnx::AttributeProto::AttributeType TypeOf(const onnx::AttributeProto& proto) {
    using onnx::AttributeProto;
    if (proto.type() != AttributeProto::UNDEFINED) return proto.type();
    if (proto.has_i()) return AttributeProto::INT;
    if (proto.has_f()) return AttributeProto::FLOAT;
    if (proto.has_s()) return AttributeProto::STRING;
    if (proto.has_t()) return AttributeProto::TENSOR;
    if (proto.has_g()) return AttributeProto::GRAPH;
    if (!proto.ints().empty()) return AttributeProto::INTS;
    if (!proto.floats().empty()) return AttributeProto::FLOATS;
    if (!proto.strings().empty()) return AttributeProto::STRINGS;
    return AttributeProto::UNDEFINED;
  }

  absl::Status LinkNodes(int64_t opset) {
    for (const auto& [node, proto] : nodes_) {
      int count = proto->input_size();
      while (count > 0 && proto->input(count - 1).empty()) --count;  // a trailing "" is one left out
      for (int i = 0; i < count; ++i) {
        Value* value = Find(proto->input(i));
        if (value == nullptr && !proto->input(i).empty())
          return absl::InvalidArgumentError(
              absl::StrCat("node '", node->name, "': input '", proto->input(i),
                           "' is not defined, expected a graph input, an initializer or a node's output"));
        graph_.SetInput(node, static_cast<size_t>(i), value);
      }
      if (node->op == "If")
        RETURN_IF_ERROR(
            WithContext(AddBranches(node, *proto, opset), absl::StrCat("node '", node->name, "'")));
    }
    return absl::OkStatus();
  }

  // The branches of an If become attributes. What they read of the graphs around them becomes further inputs
  // of the node: those of the first branch in the order of its own inputs, then those of the second.
  absl::Status AddBranches(Node* node, onnx::NodeProto& proto, int64_t opset) {
    if (node->inputs.size() != 1)
      return absl::InvalidArgumentError(absl::StrCat("If has ", node->inputs.size(), " inputs, expected 1"));
    for (const char* name : {"then_branch", "else_branch"}) {
      onnx::GraphProto* branch = nullptr;
      for (auto& attribute : *proto.mutable_attribute())
        if (attribute.name() == name && attribute.has_g()) branch = attribute.mutable_g();
      if (branch == nullptr)
        return absl::InvalidArgumentError(absl::StrCat("If has no attribute '", name, "', expected a graph"));
      auto graph = Importer(model_, *branch, directory_, this).Build(opset);
      if (!graph.ok()) return WithContext(graph.status(), name);
      for (const Value* read : graph->inputs()) graph_.SetInput(node, node->inputs.size(), Find(read->name));
      node->attrs[name] = std::make_shared<const Graph>(*std::move(graph));
    }
    return absl::OkStatus();
  }

  absl::Status AddOutputs() {
    if (proto_.output_size() == 0)
      return absl::InvalidArgumentError("graph has no outputs, expected at least one");
    std::set<std::string> seen;
    for (const auto& output : proto_.output()) {
      Value* value = Find(output.name());
      if (value == nullptr)
        return absl::InvalidArgumentError(
            absl::StrCat("output '", output.name(), "' is not defined, expected the name of a value"));
      if (!seen.insert(output.name()).second)
        return absl::InvalidArgumentError(
            absl::StrCat("output '", output.name(), "' is listed twice, expected once"));
      ASSIGN_OR_RETURN(value, InDeclaredFloats(graph_, value, output.type().tensor_type().elem_type()));
      // A hint: what computes the value says in the end.
      if (const auto declared = ToDType(output.type().tensor_type().elem_type());
          declared.ok() && value->producer != nullptr)
        value->dtype = *declared;
      graph_.AddOutput(output.name(), value);
    }
    return absl::OkStatus();
  }

  onnx::GraphProto& proto_;
  onnx::ModelProto& model_;
  std::span<std::optional<Tensor>> elements_;  // of initializers whose messages are without
  const std::filesystem::path& directory_;
  Importer* const parent_;
  Graph graph_;
  Names value_names_, node_names_, symbol_names_;
  std::unordered_set<std::string> read_;        // names that a node or the graph's outputs read
  std::map<std::string, std::string> symbols_;  // by dim_param
  std::vector<std::pair<Node*, onnx::NodeProto*>> nodes_;
};

// The external data files of a model, each once, ordered by the location that the model gives them.
absl::StatusOr<std::vector<std::filesystem::path>> ExternalFiles(const onnx::ModelProto& model,
                                                                 const std::filesystem::path& directory) {
  std::map<std::string, std::filesystem::path> by_location;
  const auto add = [&](const onnx::TensorProto& tensor) -> absl::Status {
    if (tensor.data_location() != onnx::TensorProto::EXTERNAL) return absl::OkStatus();
    ASSIGN_OR_RETURN(const ExternalData data, ParseExternalData(tensor));
    if (by_location.contains(data.location)) return absl::OkStatus();
    ASSIGN_OR_RETURN(by_location[data.location], ResolveExternalFile(data.location, directory));
    return absl::OkStatus();
  };
  for (const auto& initializer : model.graph().initializer()) RETURN_IF_ERROR(add(initializer));
  for (const auto& node : model.graph().node())
    for (const auto& attribute : node.attribute()) RETURN_IF_ERROR(add(attribute.t()));
  std::vector<std::filesystem::path> files;
  for (const auto& [location, path] : by_location) files.push_back(path);
  return files;
}

absl::StatusOr<ImportedModel> Import(const std::filesystem::path& file, bool want_sha256, KnownOp known) {
  Sha256 sha256;
  ASSIGN_OR_RETURN(ModelFile parsed, ParseModelFile(file, want_sha256 ? &sha256 : nullptr));
  const onnx::ModelProto& model = parsed.model;
  if (!model.has_graph()) return absl::InvalidArgumentError("has no graph, expected one");
  const std::filesystem::path directory = file.parent_path();
  ImportedModel imported;
  if (want_sha256) {
    ASSIGN_OR_RETURN(const auto files, ExternalFiles(model, directory));
    for (const auto& external : files) RETURN_IF_ERROR(AddFile(external, sha256));
    imported.sha256 = sha256.Digest();
  }
  ASSIGN_OR_RETURN(imported.graph, Importer(parsed, directory).Run(known));
  return imported;
}

absl::StatusOr<Tensor> ReadTensorProto(const std::filesystem::path& file) {
  ASSIGN_OR_RETURN(const std::string content, ReadFile(file));
  onnx::TensorProto proto;
  if (!proto.ParseFromString(content))
    return absl::DataLossError("does not parse, expected an ONNX TensorProto");
  return ToTensor(proto, /*directory=*/nullptr);
}

// Calls `fn` with the file named in its errors; what the libraries throw ends here.
template <typename Fn>
auto Guarded(const char* what, const std::filesystem::path& file, Fn fn) -> decltype(fn(file)) {
  const std::string context = absl::StrCat(what, " '", file.string(), "'");
  try {
    auto result = fn(file);
    if (!result.ok()) return WithContext(result.status(), context);
    return result;
  } catch (const std::bad_alloc&) {
    return absl::ResourceExhaustedError(absl::StrCat(context, ": memory ran out while it was read"));
  } catch (const std::exception& error) {
    return absl::InternalError(absl::StrCat(context, ": ", error.what()));
  }
}

}  // namespace

absl::StatusOr<ImportedModel> ImportOnnx(const std::filesystem::path& file, bool want_sha256, KnownOp known) {
  return Guarded("model", file, [&](const auto& path) { return Import(path, want_sha256, known); });
}

absl::StatusOr<Tensor> ReadTensorProtoFile(const std::filesystem::path& file) {
  return Guarded("tensor", file, ReadTensorProto);
}

}  // namespace hachi
