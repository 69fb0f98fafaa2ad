#include "engine/onnx/decompose.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "engine/base/status_macros.h"
#include "engine/onnx/decompose_rules.h"

namespace hachi {
namespace {

// ---- operators of ONNX that are a line of others

Results Selu(Writer& w) {
  ASSIGN_OR_RETURN(const float alpha, w.Float("alpha", 1.67326319217681884765625f));
  ASSIGN_OR_RETURN(const float gamma, w.Float("gamma", 1.05070102214813232421875f));
  return One(w.Make("Mul", {w.Make("Elu", {w.in(0)}, {{"alpha", alpha}}), w.Number(gamma)}));
}

Results ThresholdedRelu(Writer& w) {
  ASSIGN_OR_RETURN(const float alpha, w.Float("alpha", 1.0f));
  return One(w.Make("Where", {w.Make("Greater", {w.in(0), w.Number(alpha)}), w.in(0), w.Number(0)}));
}

Results Shrink(Writer& w) {
  ASSIGN_OR_RETURN(const float bias, w.Float("bias", 0.0f));
  ASSIGN_OR_RETURN(const float lambda, w.Float("lambd", 0.5f));
  Value* x = w.in(0);
  Value* above = w.Make(
      "Where", {w.Make("Greater", {x, w.Number(lambda)}), w.Make("Sub", {x, w.Number(bias)}), w.Number(0)});
  return One(
      w.Make("Where", {w.Make("Less", {x, w.Number(-lambda)}), w.Make("Add", {x, w.Number(bias)}), above}));
}

Results Celu(Writer& w) {
  ASSIGN_OR_RETURN(const float alpha, w.Float("alpha", 1.0f));
  Value* scaled = w.Make("Div", {w.in(0), w.Number(alpha)});
  return One(w.Make("Mul", {w.Make("Elu", {scaled}), w.Number(alpha)}));
}

Results IsNaN(Writer& w) { return One(w.Make("Not", {w.Make("Equal", {w.in(0), w.in(0)})})); }

Results IsInf(Writer& w) {
  ASSIGN_OR_RETURN(const int64_t positive, w.Int("detect_positive", 1));
  ASSIGN_OR_RETURN(const int64_t negative, w.Int("detect_negative", 1));
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  const auto is = [&](float which) { return w.Make("Equal", {w.in(0), w.Number(which)}); };
  if (positive != 0 && negative != 0) return One(w.Make("Or", {is(kInfinity), is(-kInfinity)}));
  if (positive == 0 && negative == 0) return One(w.Make("Less", {w.in(0), w.Number(-kInfinity)}));
  return One(is(positive != 0 ? kInfinity : -kInfinity));
}

Results Mean(Writer& w) {
  const auto count = static_cast<float>(w.node().inputs.size());
  return One(w.Make("Div", {w.Make("Sum", w.node().inputs), w.Number(count)}));
}

Results LpNormalization(Writer& w) {
  ASSIGN_OR_RETURN(const int64_t axis, w.Int("axis", -1));
  ASSIGN_OR_RETURN(const int64_t p, w.Int("p", 2));
  if (p != 1 && p != 2) return absl::InvalidArgumentError(absl::StrCat("p is ", p, ", expected 1 or 2"));
  Value* norm = w.Make(p == 1 ? "ReduceL1" : "ReduceL2", {w.in(0), w.Integers({axis})});
  return One(w.Make("Div", {w.in(0), norm}));
}

Results RmsNorm(Writer& w, Value* x, Value* scale, int64_t axis, float epsilon) {
  if (axis != -1) return absl::UnimplementedError(absl::StrCat("axis is ", axis, ", expected -1"));
  Value* mean = w.Make("ReduceMean", {w.Make("Mul", {x, x}), w.Integers({axis})});
  Value* deviation = w.Make("Sqrt", {w.Make("Add", {mean, w.Number(epsilon)})});
  return One(w.Make("Mul", {w.Make("Div", {x, deviation}), scale}));
}

Results RmsNormalization(Writer& w) {
  ASSIGN_OR_RETURN(const int64_t axis, w.Int("axis", -1));
  ASSIGN_OR_RETURN(const float epsilon, w.Float("epsilon", 1e-5f));
  return RmsNorm(w, w.in(0), w.in(1), axis, epsilon);
}

// ---- com.microsoft

// The function that a fused operator ends with, in ONNX Runtime's spelling.
Results Activated(Writer& w, Value* value) {
  const auto name = w.node().String("activation", "");
  RETURN_IF_ERROR(name.status());
  std::vector<float> parameters;
  if (const auto attr = w.node().attrs.find("activation_params"); attr != w.node().attrs.end())
    if (const auto* list = std::get_if<std::vector<float>>(&attr->second)) parameters = *list;
  const auto parameter = [&](size_t i, float otherwise) {
    return i < parameters.size() ? parameters[i] : otherwise;
  };
  if (name->empty()) return One(value);
  if (*name == "Relu" || *name == "Tanh" || *name == "Sigmoid") return One(w.Make(*name, {value}));
  if (*name == "LeakyRelu") return One(w.Make(*name, {value}, {{"alpha", parameter(0, 0.01f)}}));
  if (*name == "HardSigmoid")
    return One(w.Make(*name, {value}, {{"alpha", parameter(0, 0.2f)}, {"beta", parameter(1, 0.5f)}}));
  if (*name == "Clip")
    return One(w.Make(*name, {value, w.Number(parameter(0, std::numeric_limits<float>::lowest())),
                              w.Number(parameter(1, std::numeric_limits<float>::max()))}));
  return absl::UnimplementedError(absl::StrCat("activation is '", *name, "', which is not known"));
}

Results FusedConv(Writer& w) {
  Attrs attrs = w.node().attrs;
  attrs.erase("activation");
  attrs.erase("activation_params");
  Value* y = w.Make("Conv", {w.in(0), w.in(1), w.in(2)}, std::move(attrs));
  if (w.in(3) != nullptr) y = w.Make("Add", {y, w.in(3)});
  return Activated(w, y);
}

Results FusedGemm(Writer& w) {
  Attrs attrs;
  for (const char* name : {"alpha", "beta", "transA", "transB"})
    if (const auto attr = w.node().attrs.find(name); attr != w.node().attrs.end()) attrs.insert(*attr);
  return Activated(w, w.Make("Gemm", {w.in(0), w.in(1), w.in(2)}, std::move(attrs)));
}

Results FusedMatMul(Writer& w) {
  ASSIGN_OR_RETURN(const float alpha, w.Float("alpha", 1.0f));
  ASSIGN_OR_RETURN(const int64_t trans_a, w.Int("transA", 0));
  ASSIGN_OR_RETURN(const int64_t trans_b, w.Int("transB", 0));
  Value *a = w.in(0), *b = w.in(1);
  // Ranks of computed operands are not known here: Transpose says by itself that it swaps the last two.
  if (trans_a != 0) a = w.Make("Transpose", {a}, {{"swap_last", int64_t{1}}});
  if (trans_b != 0) b = w.Make("Transpose", {b}, {{"swap_last", int64_t{1}}});
  Value* y = w.Make("MatMul", {a, b});
  if (alpha != 1.0f) y = w.Make("Mul", {y, w.Number(alpha)});
  return One(y);
}

Results ContribGelu(Writer& w) { return One(w.Make("Gelu", {w.in(0)})); }

Results BiasGelu(Writer& w) { return One(w.Make("Gelu", {w.Make("Add", {w.in(0), w.in(1)})})); }

Results FastGelu(Writer& w) {
  Value* x = w.in(1) == nullptr ? w.in(0) : w.Make("Add", {w.in(0), w.in(1)});
  return One(w.Make("Gelu", {x}, {{"approximate", std::string("tanh")}}));
}

Results QuickGelu(Writer& w) {
  ASSIGN_OR_RETURN(const float alpha, w.Float("alpha", 1.702f));
  return One(w.Make("Swish", {w.in(0)}, {{"alpha", alpha}}));
}

// Outputs: the normalized sum, two that are for training, and the sum.
Results SkipLayerNormalization(Writer& w) {
  ASSIGN_OR_RETURN(const float epsilon, w.Float("epsilon", 1e-12f));
  Value* sum = w.Make("Add", {w.in(0), w.in(1)});
  if (w.in(4) != nullptr) sum = w.Make("Add", {sum, w.in(4)});
  Value* y =
      w.Make("LayerNormalization", {sum, w.in(2), w.in(3)}, {{"epsilon", epsilon}, {"axis", int64_t{-1}}});
  return std::vector<Value*>{y, nullptr, nullptr, sum};
}

Results SkipSimplifiedLayerNormalization(Writer& w) {
  ASSIGN_OR_RETURN(const float epsilon, w.Float("epsilon", 1e-12f));
  Value* sum = w.Make("Add", {w.in(0), w.in(1)});
  if (w.in(3) != nullptr) sum = w.Make("Add", {sum, w.in(3)});
  ASSIGN_OR_RETURN(std::vector<Value*> y, RmsNorm(w, sum, w.in(2), -1, epsilon));
  return std::vector<Value*>{y[0], nullptr, nullptr, sum};
}

// Inputs: ids, segments, the three tables, gamma, beta, mask, positions. Outputs: embeddings, mask index,
// their sum.
Results EmbedLayerNormalization(Writer& w) {
  ASSIGN_OR_RETURN(const float epsilon, w.Float("epsilon", 1e-12f));
  Value* sum = w.Make("Gather", {w.in(2), w.in(0)});
  Value* positions = w.in(8);
  if (positions == nullptr) {
    Value* shape = w.Make("Shape", {w.in(0)});
    Value* length = w.Make("Gather", {shape, w.Constant(Tensor::Of<int64_t>({}, {int64_t{1}}))});
    positions = w.Make("Range", {w.Constant(Tensor::Of<int64_t>({}, {int64_t{0}})), length,
                                 w.Constant(Tensor::Of<int64_t>({}, {int64_t{1}}))});
  }
  sum = w.Make("Add", {sum, w.Make("Gather", {w.in(3), positions})});
  if (w.in(1) != nullptr && w.in(4) != nullptr)
    sum = w.Make("Add", {sum, w.Make("Gather", {w.in(4), w.in(1)})});
  Value* y =
      w.Make("LayerNormalization", {sum, w.in(5), w.in(6)}, {{"epsilon", epsilon}, {"axis", int64_t{-1}}});
  Value* lengths = nullptr;  // of each row's mask
  if (w.in(7) != nullptr)
    lengths = w.Make("ReduceSum", {w.in(7), w.Integers({1})}, {{"keepdims", int64_t{0}}});
  return std::vector<Value*>{y, lengths, sum};
}

// [batch, length, heads * size] as [batch, heads, length, size].
Value* SplitHeads(Writer& w, Value* value, int64_t heads) {
  return w.Make("Transpose", {w.Make("Reshape", {value, w.Integers({0, 0, heads, -1})})},
                {{"perm", std::vector<int64_t>{0, 2, 1, 3}}});
}

// Softmax(q kᵀ scale + bias) v, heads joined. `size` is that of a head.
Value* Attend(Writer& w, Value* q, Value* k, Value* v, int64_t heads, float scale, Value* bias) {
  Value* keys = w.Make("Transpose", {w.Make("Reshape", {k, w.Integers({0, 0, heads, -1})})},
                       {{"perm", std::vector<int64_t>{0, 2, 3, 1}}});
  Value* scores = w.Make("Mul", {w.Make("MatMul", {SplitHeads(w, q, heads), keys}), w.Number(scale)});
  if (bias != nullptr) scores = w.Make("Add", {scores, bias});
  Value* context =
      w.Make("MatMul", {w.Make("Softmax", {scores}, {{"axis", int64_t{-1}}}), SplitHeads(w, v, heads)});
  return w.Make("Reshape", {w.Make("Transpose", {context}, {{"perm", std::vector<int64_t>{0, 2, 1, 3}}}),
                            w.Integers({0, 0, -1})});
}

// What a [batch, length] mask of ones and zeros adds to scores.
Value* MaskBias(Writer& w, Value* mask, float filter) {
  Value* real = w.Make("Cast", {w.Make("Unsqueeze", {mask, w.Integers({1, 2})})}, {{"to", int64_t{1}}});
  return w.Make("Mul", {w.Make("Sub", {w.Number(1), real}), w.Number(filter)});
}

absl::StatusOr<int64_t> HeadsOf(Writer& w) {
  ASSIGN_OR_RETURN(const int64_t heads, w.Int("num_heads", 0));
  if (heads < 1)
    return absl::InvalidArgumentError(absl::StrCat("num_heads is ", heads, ", expected 1 or more"));
  return heads;
}

// Inputs: x, weights [depth, 3 * hidden], bias, mask of [batch, length].
Results ContribAttention(Writer& w) {
  ASSIGN_OR_RETURN(const int64_t heads, HeadsOf(w));
  ASSIGN_OR_RETURN(const int64_t causal, w.Int("unidirectional", 0));
  ASSIGN_OR_RETURN(const float filter, w.Float("mask_filter_value", -10000.0f));
  const Value* weights = w.in(1);
  if (weights == nullptr || !weights->is_constant() || weights->constant->shape().size() != 2)
    return absl::UnimplementedError("weights are computed or no matrix, expected a constant one");
  if (causal != 0 || w.in(4) != nullptr || w.node().attrs.contains("qkv_hidden_sizes"))
    return absl::UnimplementedError("is causal, keeps a past or has sizes of its own, expected none of that");
  const int64_t hidden = weights->constant->shape()[1] / 3;
  ASSIGN_OR_RETURN(const float scale, w.Float("scale", 1.0f / std::sqrt(static_cast<float>(hidden / heads))));
  Value* product = w.Make("MatMul", {w.in(0), w.in(1)});
  if (w.in(2) != nullptr) product = w.Make("Add", {product, w.in(2)});
  const std::vector<Value*> parts =
      w.Make("Split", {product, w.Integers({hidden, hidden, hidden})}, 3, {{"axis", int64_t{-1}}});
  Value* bias = w.in(3) == nullptr ? nullptr : MaskBias(w, w.in(3), filter);
  if (w.in(5) != nullptr) bias = bias == nullptr ? w.in(5) : w.Make("Add", {bias, w.in(5)});
  return One(Attend(w, parts[0], parts[1], parts[2], heads, scale, bias));
}

// Inputs: query, key, value (each [batch, length, hidden]), bias of all three, mask of [batch, length], bias
// of scores.
Results ContribMultiHeadAttention(Writer& w) {
  ASSIGN_OR_RETURN(const int64_t heads, HeadsOf(w));
  ASSIGN_OR_RETURN(const float filter, w.Float("mask_filter_value", -10000.0f));
  if (w.in(1) == nullptr || w.in(2) == nullptr || w.in(6) != nullptr || w.in(7) != nullptr)
    return absl::UnimplementedError("has packed inputs or a past, expected query, key and value");
  Value *q = w.in(0), *k = w.in(1), *v = w.in(2);
  if (!w.node().attrs.contains("scale") && w.in(3) == nullptr)
    return absl::UnimplementedError(
        "has neither scale nor bias, which say how large a head is, expected one");
  float scale = 0;
  if (w.in(3) != nullptr) {
    const Value* bias = w.in(3);
    if (!bias->is_constant() || bias->constant->count() % (3 * heads) != 0)
      return absl::UnimplementedError(
          "the bias is computed or does not fit the heads, expected a constant that does");
    const int64_t hidden = bias->constant->count() / 3;
    scale = 1.0f / std::sqrt(static_cast<float>(hidden / heads));
    const std::vector<Value*> parts =
        w.Make("Split", {w.in(3), w.Integers({hidden, hidden, hidden})}, 3, {{"axis", int64_t{0}}});
    q = w.Make("Add", {q, parts[0]});
    k = w.Make("Add", {k, parts[1]});
    v = w.Make("Add", {v, parts[2]});
  }
  ASSIGN_OR_RETURN(scale, w.Float("scale", scale));
  Value* bias = w.in(4) == nullptr ? nullptr : MaskBias(w, w.in(4), filter);
  if (w.in(5) != nullptr) bias = bias == nullptr ? w.in(5) : w.Make("Add", {bias, w.in(5)});
  return One(Attend(w, q, k, v, heads, scale, bias));
}

constexpr DecomposeRule kRules[] = {
    {"Celu", Celu},
    {"IsInf", IsInf},
    {"IsNaN", IsNaN},
    {"LpNormalization", LpNormalization},
    {"Mean", Mean},
    {"RMSNormalization", RmsNormalization},
    {"Selu", Selu},
    {"Shrink", Shrink},
    {"SimplifiedLayerNormalization", RmsNormalization},
    {"ThresholdedRelu", ThresholdedRelu},
    {"com.microsoft.Attention", ContribAttention},
    {"com.microsoft.BiasGelu", BiasGelu},
    {"com.microsoft.EmbedLayerNormalization", EmbedLayerNormalization},
    {"com.microsoft.FastGelu", FastGelu},
    {"com.microsoft.FusedConv", FusedConv},
    {"com.microsoft.FusedGemm", FusedGemm},
    {"com.microsoft.FusedMatMul", FusedMatMul},
    {"com.microsoft.Gelu", ContribGelu},
    {"com.microsoft.MultiHeadAttention", ContribMultiHeadAttention},
    {"com.microsoft.QuickGelu", QuickGelu},
    {"com.microsoft.SkipLayerNormalization", SkipLayerNormalization},
    {"com.microsoft.SkipSimplifiedLayerNormalization", SkipSimplifiedLayerNormalization},
};

// The rule for an operator; null: there is none.
const DecomposeRule* FindRule(std::string_view op) {
  for (const std::span<const DecomposeRule> rules :
       {std::span<const DecomposeRule>(kRules), QuantizedRules()})
    if (const auto found = std::ranges::find(rules, op, &DecomposeRule::op); found != rules.end())
      return &*found;
  return nullptr;
}

}  // namespace

absl::StatusOr<bool> Decompose(Graph& graph, Node& node) {
  const DecomposeRule* rule = FindRule(node.op);
  if (rule == nullptr || (rule->applies != nullptr && !rule->applies(node))) return false;
  Writer writer(graph, node);
  ASSIGN_OR_RETURN(const std::vector<Value*> results, rule->write(writer));
  for (size_t i = 0; i < node.outputs.size(); ++i) {
    Value* output = node.outputs[i];
    if (i < results.size() && results[i] != nullptr)
      graph.ReplaceUses(output, results[i]);
    else if (!output->users.empty() || graph.IsOutput(output))
      return absl::UnimplementedError(
          absl::StrCat("output ", i, " ('", output->name, "') is read, expected it unused"));
  }
  graph.RemoveNode(&node);
  return true;
}

}  // namespace hachi
