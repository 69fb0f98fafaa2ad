#pragma once

#include <list>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/graph/dim.h"
#include "engine/tensor/layout.h"
#include "engine/tensor/post_op.h"
#include "engine/tensor/quant_params.h"
#include "engine/tensor/tensor.h"

namespace hachi {

struct Node;
class Graph;

// s8 integers that stand for the real numbers of a constant: what those were dequantized from, zero points
// taken off.
struct ConstantIntegers {
  Tensor values;
  QuantParams params;  // zero points are 0
};

// One tensor of the graph: an input, a constant, or what a node makes. Each has one definition.
struct Value {
  std::string name;  // unique in the graph; the ONNX value name where it comes from the file
  DType dtype = DType::kF32;
  std::optional<SymbolicShape> dims;  // nullopt: not inferred yet. Always in ONNX order.
  Layout layout;                      // of the stored elements
  std::optional<QuantParams> quant;   // the real numbers that stored integers stand for
  std::shared_ptr<const Tensor> constant;
  std::shared_ptr<const ConstantIntegers> integers;  // of an f32 constant that was quantized; null: it wasn't
  std::optional<SymbolicShape> content;  // of a computed integer vector or scalar, where inference knows it
  Node* producer = nullptr;              // null for inputs and constants
  std::vector<Node*> users;              // one entry for each use as a node's input, in no order

  bool is_constant() const { return constant != nullptr; }
  size_t rank() const { return dims->size(); }  // REQUIRES: dims
};

// An attribute, as ONNX types them. Tensors and graphs (the branches of an If) are shared.
using Attr =
    std::variant<int64_t, float, std::string, std::vector<int64_t>, std::vector<float>,
                 std::vector<std::string>, std::shared_ptr<const Tensor>, std::shared_ptr<const Graph>>;

// One operation. Name and links (inputs, outputs, users, producer) are kept by Graph; the rest is free to
// edit.
struct Node {
  std::string name;            // unique among nodes
  std::string op;              // an OpDef's name, "Conv"
  std::vector<Value*> inputs;  // null: an optional input left out
  std::vector<Value*> outputs;
  std::map<std::string, Attr> attrs;
  std::vector<PostOp> post_ops;  // fused behind the operation, in order

  // The attribute or `otherwise`; INVALID_ARGUMENT naming node and attribute when it has another type.
  absl::StatusOr<int64_t> Int(std::string_view attr, int64_t otherwise) const;
  absl::StatusOr<float> Float(std::string_view attr, float otherwise) const;
  absl::StatusOr<std::string> String(std::string_view attr, std::string otherwise) const;
  absl::StatusOr<AxisNumbers> Ints(std::string_view attr, AxisNumbers otherwise) const;

  // Input `i`, or null when it is left out or beyond the list.
  Value* input(size_t i) const { return i < inputs.size() ? inputs[i] : nullptr; }
  Value* output() const { return outputs[0]; }
};

// A model between import and plan: values and nodes in topological order. Symbolic shapes; text form below.
//
// Pointers to values and nodes stay valid until they are removed. Thread-compatible.
class Graph {
 public:
  struct Output {
    std::string name;  // what clients call it; kept when passes replace the value
    Value* value;
  };

  explicit Graph(std::string name = "graph") : name_(std::move(name)) {}
  Graph(Graph&&) = default;
  Graph& operator=(Graph&&) = default;

  // The same graph once more, to be changed on its own; constants are shared.
  Graph Clone() const;

  const std::string& name() const { return name_; }
  const std::vector<Value*>& inputs() const { return inputs_; }
  const std::vector<Output>& outputs() const { return outputs_; }
  const std::list<std::unique_ptr<Node>>& nodes() const { return nodes_; }

  // A snapshot, safe to walk while nodes are added or removed (removed ones must not be visited).
  std::vector<Node*> NodeList() const;

  // REQUIRES (all that take a name): it is not taken.
  Value* AddInput(std::string name, DType dtype, SymbolicShape dims);
  Value* AddConstant(std::string name, std::shared_ptr<const Tensor> tensor);
  void AddOutput(std::string name, Value* value);

  // Inserts before `before` (null: at the end) with fresh outputs named `output_names`.
  // REQUIRES: the inputs are defined before that place.
  Node* AddNode(std::string op, std::string name, std::vector<Value*> inputs,
                std::vector<std::string> output_names, std::map<std::string, Attr> attrs = {},
                Node* before = nullptr);

  // Puts `value` (may be null) at input `index`, growing the list by left-out inputs as needed.
  void SetInput(Node* node, size_t index, Value* value);

  // Every node and graph output that reads `from` reads `to` instead.
  void ReplaceUses(Value* from, Value* to);

  // `node` takes over `value` as its output `index`; its former output and value's former producer's claim
  // end. REQUIRES: the former output has no uses left; the former producer of `value` is removed by the
  // caller after.
  void TakeOutput(Node* node, size_t index, Value* value);

  // REQUIRES: nothing reads the outputs.
  void RemoveNode(Node* node);

  // Removes nodes and constants that reach no output, and constants that nothing reads.
  void RemoveDead();

  // Moves nodes so that producers come before users. INVALID_ARGUMENT on a cycle. Stable where order is free.
  absl::Status Sort();

  bool IsOutput(const Value* value) const;
  Value* FindValue(std::string_view name) const;

  // `base`, or `base` with the first free "_2", "_3" ...
  std::string UniqueValueName(const std::string& base) const;
  std::string UniqueNodeName(const std::string& base) const;

  // Structure: single definitions, order, links both ways, names unique, post-op operands present.
  absl::Status Verify() const;

  // All values, by name.
  const std::map<std::string, std::unique_ptr<Value>, std::less<>>& values() const { return values_; }

 private:
  using Nodes = std::list<std::unique_ptr<Node>>;

  Nodes::iterator Insert(Nodes::iterator place, std::unique_ptr<Node> node);
  Nodes::iterator Erase(Nodes::iterator place);
  Value* NewValue(std::string name);
  void AddUse(Value* value, Node* node);
  void RemoveUse(Value* value, Node* node);
  void Erase(Value* value);

  std::string name_;
  std::map<std::string, std::unique_ptr<Value>, std::less<>> values_;
  std::vector<Value*> inputs_;
  std::vector<Output> outputs_;
  Nodes nodes_;
  std::unordered_map<const Node*, Nodes::iterator> places_;
  std::unordered_multiset<std::string> node_names_;
};

// The text form, one line an input, constant, node or output:
//
//   graph NAME {
//     input x: f32[N,3,8,8]
//     const w: f32[2] = 1 2
//     conv1: Conv(x, w, _) {strides=[2,2]} post clip(0,6) -> y: u8[N,2,4,4] channels_last quant(0.5,3)
//     output probabilities = y
//   }
//
// `_` is a left-out input. Names with other characters than [A-Za-z0-9_./:-] stand in double quotes.
// Constants of more than `max_constant_elements` are written as `...`, which ParseGraph refuses;
// ParseGraph also takes `splat V` and `random SEED LOW HIGH` (uniform) for constants.
std::string ToText(const Graph& graph, int64_t max_constant_elements = 16);
std::string ToText(const Node& node);
absl::StatusOr<Graph> ParseGraph(std::string_view text);

}  // namespace hachi
