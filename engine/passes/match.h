#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/graph/graph.h"

// What passes ask of a graph that look for a pattern of nodes.
namespace hachi {

// The node that makes `value` if it is of that operator and nothing is fused behind it; else null.
Node* MakerOf(const Value* value, std::string_view op);

// The node of that operator that alone reads `value`, which is no output of the graph; else null.
Node* OnlyReader(const Graph& graph, const Value* value, std::string_view op);

// Whether it is a convolution of one filter a channel, whose channels never meet.
bool IsDepthwise(const Node& node);

// The other input of a node that has two and reads `value`; null: it does not read it.
Value* OtherInput(const Node& node, const Value* value);

// The element of an f32 constant that has one.
std::optional<float> ScalarOf(const Value* value);

// Whether `value` is a constant of one element that equals `number` to five digits, which is how exporters
// write it.
bool IsScalar(const Value* value, double number);

// x where `value` is x × factor, or x ÷ (1 / factor); null: it is not.
Value* UnscaledBy(const Value* value, double factor);

// `value` times one number.
struct Scaled {
  Value* value;
  float factor;
};

// The result of a product of constant weights has a bias, and may have a factor, for each index of an axis.
struct ProductChannels {
  int64_t count;
  size_t axis;          // of the result
  size_t weights_axis;  // of the weights; of a transposed convolution in groups no axis has them all
};

// Those of Conv, ConvTranspose, or a MatMul of a matrix of weights, behind which nothing is fused and whose
// bias, if it has one, is a constant; nullopt: it is none such.
std::optional<ProductChannels> ChannelsOf(const Node& product);

// Whether the constant is one number, or one for each index of that axis of a tensor of that rank that it
// broadcasts to.
bool IsByChannel(const Value& constant, int64_t channels, size_t axis, size_t rank);

// What a Mul or Div by one number multiplies; nullopt: it is no such node.
std::optional<Scaled> ScaledBy(const Node& node);

// `value` times one number, plus another.
struct Linear {
  Value* value;
  float factor, addend;
};

// What an Add, Sub, Mul or Div of a computed value and one number makes of it; nullopt: it is no such node.
std::optional<Linear> LinearOf(const Node& node);

// What a new node in front of `before`, named after it, makes of these inputs; inferred.
absl::StatusOr<Value*> InsertBefore(Graph& graph, Node* before, const std::string& op,
                                    std::vector<Value*> inputs, std::map<std::string, Attr> attrs = {});

// `node` becomes another operator of these inputs; its name, output and place stay. REQUIRES: the inputs are
// defined before it.
void Become(Graph& graph, Node* node, std::string op, const std::vector<Value*>& inputs,
            std::map<std::string, Attr> attrs = {});

// `maker` makes what `node` made of the maker's output, which nobody else reads; `node` is gone. REQUIRES:
// the node has one output, and the maker is defined before it.
void Absorb(Graph& graph, Node* maker, Node* node);

}  // namespace hachi
