// Products of what is quantized by what a run finds.
#include <algorithm>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "engine/base/status_macros.h"
#include "engine/ops/op.h"
#include "engine/passes/decide_int8.h"
#include "engine/passes/integers.h"
#include "engine/passes/match.h"
#include "engine/passes/passes.h"
#include "engine/quant/weights.h"

namespace hachi {
namespace {

// A product of dynamically quantized integers with constant ones, and what scales its sums.
struct Product {
  Node* matmul;
  Node* quantizer;
  Node* last;      // makes the real numbers
  Value* weights;  // whose integers' scales include all that is constant
};

// The quantizer whose integers `value` is, less their zero point, times `scale`; null: it is none.
Node* QuantizerBehind(const Value* value, Value** scale) {
  const Node* reals = MakerOf(value, "DequantizeLinear");
  if (reals == nullptr || reals->input(2) == nullptr) return nullptr;
  Node* quantizer = MakerOf(reals->inputs[0], "DynamicQuantizeLinear");
  if (quantizer == nullptr || reals->inputs[0] != quantizer->outputs[0] ||
      reals->inputs[2] != quantizer->outputs[2])
    return nullptr;
  *scale = reals->inputs[1];
  return quantizer;
}

// The weights' integers, where products take them: of a matrix, with a scale for all or for each column.
bool HasColumnIntegers(const Value& weights) {
  const ConstantIntegers* integers = weights.integers.get();
  return integers != nullptr && weights.rank() == 2 &&
         (integers->params.per_tensor() || integers->params.axis == 1);
}

// The constant that `value` is `scale` times; null: it is not.
Value* FactorBeside(const Value* value, const Value* scale) {
  const Node* mul = MakerOf(value, "Mul");
  Value* factor = mul == nullptr ? nullptr : OtherInput(*mul, scale);
  return factor != nullptr && factor->is_constant() && factor->dtype == DType::kF32 ? factor : nullptr;
}

class Fuser {
 public:
  Fuser(Graph& graph, const PassOptions& options) : graph_(graph), options_(options) {}

  // Those that the model has.
  absl::Status FuseOwn() {
    for (Node* node : graph_.NodeList()) {
      if (node->op != "MatMul" || node->inputs.size() != 2) continue;
      const auto product = Match(*node);
      if (product && DecidesInt8(*node)) RETURN_IF_ERROR(Rewrite(*product));
    }
    graph_.RemoveDead();
    return absl::OkStatus();
  }

  // Every product of FP32 with a constant matrix: its weights are quantized by column, its input, unless
  // weights alone are, by row.
  absl::Status QuantizeAll() {
    std::map<Value*, Node*> quantizers;  // by what they quantize
    for (Node* node : graph_.NodeList()) {
      if (!IsFp32Product(*node) || !DecidesInt8(*node)) continue;
      ASSIGN_OR_RETURN(Value * weights, QuantizedColumns(*node));
      if (options_.int8_weights) {
        std::vector<Value*> inputs = {node->inputs[0], StoredIntegers(*weights)};
        if (Value* bias = node->input(2); bias != nullptr) inputs.push_back(bias);
        Become(graph_, node, "Int8WeightProduct", inputs);
        continue;
      }
      Node*& quantizer = quantizers[node->inputs[0]];
      if (quantizer == nullptr) {
        const std::string name = absl::StrCat(node->inputs[0]->name, "_quantized");
        quantizer = graph_.AddNode("DynamicQuantizeLinear", graph_.UniqueNodeName(name), {node->inputs[0]},
                                   {graph_.UniqueValueName(name), graph_.UniqueValueName(name + "_scale"),
                                    graph_.UniqueValueName(name + "_zero_point")},
                                   {{"by_row", int64_t{1}}}, node);
      }
      Value* bias = node->input(2);
      RETURN_IF_ERROR(Rewrite({node, quantizer, node, weights}, bias));
    }
    graph_.RemoveDead();
    return absl::OkStatus();
  }

 private:
  bool DecidesInt8(const Node& node) const {
    return DecideInt8(options_, node, [] { return true; });
  }

  static bool IsFp32Product(const Node& node) {
    if ((node.op != "MatMul" && node.op != "Gemm") || !node.post_ops.empty()) return false;
    const Value &x = *node.inputs[0], &weights = *node.inputs[1];
    const Value* bias = node.input(2);
    const auto transposed = node.Int("transA", 0);
    return x.dtype == DType::kF32 && !x.is_constant() && x.rank() >= 2 && weights.is_constant() &&
           weights.dtype == DType::kF32 && weights.rank() == 2 && weights.constant->count() > 0 &&
           transposed.ok() && *transposed == 0 &&
           (bias == nullptr ||
            (bias->is_constant() && *bias->dims == SymbolicShape{node.output()->dims->back()}));
  }

  // The weights of a Gemm or MatMul as [K, N] with integers.
  absl::StatusOr<Value*> QuantizedColumns(const Node& node) {
    Value* weights = node.inputs[1];
    ASSIGN_OR_RETURN(const int64_t transposed, node.Int("transB", 0));
    if (transposed != 0) {
      const Shape& shape = weights->constant->shape();
      auto turned = std::make_shared<Tensor>(DType::kF32, Shape{shape[1], shape[0]});
      for (int64_t i = 0; i < turned->count(); ++i)
        turned->As<float>()[i] = weights->constant->As<float>()[i % shape[0] * shape[1] + i / shape[0]];
      weights = graph_.AddConstant(graph_.UniqueValueName(absl::StrCat(weights->name, "_columns")),
                                   std::move(turned));
    }
    ASSIGN_OR_RETURN(auto integers, QuantizedIntegers(node, *weights, 1, options_.weight_bits));
    return AddQuantized(graph_, *weights, std::move(integers));
  }

  std::optional<Product> Match(Node& matmul) {
    Value* scale = nullptr;
    Node* quantizer = QuantizerBehind(matmul.inputs[0], &scale);
    Value* weights = matmul.inputs[1];
    if (quantizer == nullptr || !HasColumnIntegers(*weights)) return std::nullopt;
    if (options_.weight_bits != 8 && PairSumsMaySaturate(weights->integers->values, 1)) return std::nullopt;
    if (scale == quantizer->outputs[1]) return Product{&matmul, quantizer, &matmul, weights};
    // Sums that are integers, then real numbers, then scaled by quantizer and weights: ONNX Runtime's form.
    if (!IsScalar(scale, 1)) return std::nullopt;
    Node* reals = OnlyReader(graph_, matmul.output(), "Cast");
    if (reals != nullptr) reals = OnlyReader(graph_, reals->output(), "Cast");
    if (reals == nullptr || reals->output()->dtype != DType::kF32) return std::nullopt;
    Node* scaled = OnlyReader(graph_, reals->output(), "Mul");
    if (scaled == nullptr) return std::nullopt;
    const Value* factor = FactorBeside(OtherInput(*scaled, reals->output()), quantizer->outputs[1]);
    const int64_t columns = weights->constant->shape()[1];
    if (factor == nullptr || factor->rank() > 1 ||
        (factor->constant->count() != 1 && factor->constant->count() != columns))
      return std::nullopt;
    const auto numbers = factor->constant->As<float>();
    Value* own = AddScaled(graph_, *weights, absl::StrCat(weights->name, "_scaled"),
                           std::vector<double>(numbers.begin(), numbers.end()), 1);
    if (own->integers == nullptr) return std::nullopt;
    return Product{&matmul, quantizer, scaled, own};
  }

  // Of the integers of each column, times its scale.
  Value* ColumnSums(const Value& weights) {
    const ConstantIntegers& integers = *weights.integers;
    const Shape& shape = integers.values.shape();
    const auto values = integers.values.As<int8_t>();
    std::vector<int64_t> sums(static_cast<size_t>(shape[1]));
    for (int64_t i = 0; i < integers.values.count(); ++i)
      sums[static_cast<size_t>(i % shape[1])] += values[i];
    auto scaled = std::make_shared<Tensor>(DType::kF32, Shape{shape[1]});
    const std::vector<float>& scales = integers.params.scales;
    for (size_t c = 0; c < sums.size(); ++c)
      scaled->As<float>()[c] = static_cast<float>(
          static_cast<double>(sums[c]) * static_cast<double>(scales[integers.params.per_tensor() ? 0 : c]));
    return graph_.AddConstant(graph_.UniqueValueName(absl::StrCat(weights.name, "_sums")), std::move(scaled));
  }

  // The integers as weights that a kernel reads.
  Value* StoredIntegers(const Value& weights) {
    const auto integers = weights.integers;
    Value* stored = graph_.AddConstant(graph_.UniqueValueName(absl::StrCat(weights.name, "_integers")),
                                       std::shared_ptr<const Tensor>(integers, &integers->values));
    stored->quant = integers->params;
    return stored;
  }

  absl::Status Rewrite(const Product& product, Value* bias = nullptr) {
    Node* last = product.last;
    product.quantizer->attrs["as_numbers"] = int64_t{1};
    RETURN_IF_ERROR(InferNode(*product.quantizer));
    const std::vector<Value*>& made = product.quantizer->outputs;
    ASSIGN_OR_RETURN(Value * sums,
                     InsertBefore(graph_, last, "MatMul", {made[0], StoredIntegers(*product.weights)}));
    // A bias behind it is added in the same pass over memory.
    Node* add = bias == nullptr ? OnlyReader(graph_, last->output(), "Add") : nullptr;
    if (add != nullptr) {
      Value* other = OtherInput(*add, last->output());
      if (other->is_constant() && other->dims == SymbolicShape{last->output()->dims->back()}) {
        bias = other;
        last = add;
      }
    }
    // Decided of, and pinned, by the product's name.
    std::swap(last->name, product.matmul->name);
    Become(graph_, last, "RescaleRows", {sums, made[1], made[2], ColumnSums(*product.weights), bias});
    return absl::OkStatus();
  }

  Graph& graph_;
  const PassOptions& options_;
};

}  // namespace

absl::Status FuseDynamicProducts(Graph& graph, const PassOptions& options) {
  Fuser fuser(graph, options);
  RETURN_IF_ERROR(fuser.FuseOwn());
  return options.dynamic || options.int8_weights ? fuser.QuantizeAll() : absl::OkStatus();
}

}  // namespace hachi
