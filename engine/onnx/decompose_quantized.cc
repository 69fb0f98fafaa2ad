// Operators on integers that carry their scales and zero points, as operators on real numbers between
// quantizers: those of ONNX (QLinearConv ...) and ONNX Runtime's own. FoldQuantizers brings them back to
// integers.
#include <algorithm>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "engine/base/status_macros.h"
#include "engine/onnx/decompose_rules.h"

namespace hachi {
namespace {

constexpr int64_t kFloat = 1, kInt32 = 6;  // ONNX's numbers of types

Value* Cast(Writer& w, Value* value, int64_t type) { return w.Make("Cast", {value}, {{"to", type}}); }

// A vector of one element as a scalar.
Value* Scalar(Writer& w, Value* value) {
  const bool one = value != nullptr && value->is_constant() && value->constant->count() == 1;
  return one && value->rank() > 0 ? w.Make("Squeeze", {value}) : value;
}

// A product of integers less their zero points: of real numbers, which are exact up to 2^24. Sums beyond are
// rounded.
Results IntegerProduct(Writer& w, std::string op, int64_t weight_axis, Attrs attrs) {
  const auto centered = [&](size_t i, int64_t axis) {
    Value* zero = Scalar(w, w.in(i + 2));
    const bool by_channel = zero != nullptr && zero->is_constant() && zero->rank() == 1;
    const int64_t channels = by_channel ? zero->constant->count() : 1;
    Tensor ones(DType::kF32, by_channel ? Shape{channels} : Shape());
    std::ranges::fill(ones.As<float>(), 1.0f);
    return w.Make("DequantizeLinear", {w.in(i), w.Constant(std::move(ones)), zero}, {{"axis", axis}});
  };
  Value* product = w.Make(std::move(op), {centered(0, 0), centered(1, weight_axis)}, std::move(attrs));
  return One(Cast(w, product, kInt32));
}

Results MatMulInteger(Writer& w) { return IntegerProduct(w, "MatMul", 1, {}); }

Results ConvInteger(Writer& w) { return IntegerProduct(w, "Conv", 0, w.node().attrs); }

// Inputs `i` to `i` + 2, being integers, a scale and a zero point, as real numbers; scales by channel are
// along `axis`.
Value* Reals(Writer& w, size_t i, int64_t axis = 1) {
  return w.Make("DequantizeLinear", {w.in(i), w.in(i + 1), w.in(i + 2)}, {{"axis", axis}});
}

// Real numbers as integers of the scale and zero point that inputs `i` and `i` + 1 are.
Results Integers(Writer& w, Value* reals, size_t i) {
  return One(w.Make("QuantizeLinear", {reals, w.in(i), w.in(i + 1)}));
}

// The bias of a quantized product: integers of the scale factor * a * b.
Value* Bias(Writer& w, Value* integers, Value* a_scale, Value* b_scale, float factor = 1.0f) {
  if (integers == nullptr) return nullptr;
  Value* scale = w.Make("Mul", {a_scale, b_scale});
  if (factor != 1.0f) scale = w.Make("Mul", {scale, w.Number(factor)});
  return w.Make("Mul", {Cast(w, integers, kFloat), scale});
}

// The node's attributes but for some that only this form of the operator has.
Attrs AttrsWithout(const Writer& w, std::initializer_list<const char*> names) {
  Attrs attrs = w.node().attrs;
  for (const char* name : names) attrs.erase(name);
  return attrs;
}

absl::Status CheckChannelsFirst(const Writer& w) {
  ASSIGN_OR_RETURN(const int64_t channels_last, w.Int("channels_last", 0));
  if (channels_last == 0) return absl::OkStatus();
  return absl::UnimplementedError("attribute 'channels_last' is 1, expected 0");
}

Results QLinearMatMul(Writer& w) { return Integers(w, w.Make("MatMul", {Reals(w, 0), Reals(w, 3)}), 6); }

Results QLinearConv(Writer& w) {
  RETURN_IF_ERROR(CheckChannelsFirst(w));
  Value* y = w.Make("Conv", {Reals(w, 0), Reals(w, 3, /*axis=*/0), Bias(w, w.in(8), w.in(1), w.in(4))},
                    AttrsWithout(w, {"channels_last"}));
  return Integers(w, y, 6);
}

// ---- com.microsoft

// QLinearAdd and QLinearMul.
Results OfTwo(Writer& w) {
  const std::string op = w.node().op.substr(w.node().op.rfind("QLinear") + 7);
  return Integers(w, w.Make(op, {Reals(w, 0), Reals(w, 3)}), 6);
}

// QLinearSigmoid, QLinearLeakyRelu, pools: x, its scale and zero point, those of the result.
Results OfOne(Writer& w) {
  RETURN_IF_ERROR(CheckChannelsFirst(w));
  const std::string op = w.node().op.substr(w.node().op.rfind("QLinear") + 7);
  return Integers(w, w.Make(op, {Reals(w, 0)}, AttrsWithout(w, {"channels_last"})), 3);
}

Results QLinearReduceMean(Writer& w) {
  Attrs attrs = AttrsWithout(w, {"axes"});
  Value* axes = nullptr;
  if (const auto found = w.node().attrs.find("axes"); found != w.node().attrs.end())
    if (const auto* list = std::get_if<std::vector<int64_t>>(&found->second)) axes = w.Integers(*list);
  return Integers(w, w.Make("ReduceMean", {Reals(w, 0), axes}, std::move(attrs)), 3);
}

Results QLinearSoftmax(Writer& w) {
  ASSIGN_OR_RETURN(const int64_t opset, w.Int("opset", 13));
  if (opset < 13)
    return absl::UnimplementedError(
        absl::StrCat("attribute 'opset' is ", opset, ", whose softmax is of matrices, expected 13"));
  return Integers(w, w.Make("Softmax", {Reals(w, 0)}, AttrsWithout(w, {"opset"})), 3);
}

Results QLinearWhere(Writer& w) {
  return Integers(w, w.Make("Where", {w.in(0), Reals(w, 1), Reals(w, 4)}), 7);
}

Results QLinearConcat(Writer& w) {
  std::vector<Value*> parts;
  for (size_t i = 2; i + 2 < w.node().inputs.size(); i += 3) parts.push_back(Reals(w, i));
  if (parts.empty()) return absl::InvalidArgumentError("concatenates nothing, expected some inputs");
  return Integers(w, w.Make("Concat", std::move(parts), w.node().attrs), 0);
}

Results QGemm(Writer& w) {
  ASSIGN_OR_RETURN(const float alpha, w.Float("alpha", 1.0f));
  ASSIGN_OR_RETURN(const int64_t transposed, w.Int("transB", 0));
  Value* b = Reals(w, 3, transposed != 0 ? 0 : 1);
  Value* y = w.Make("Gemm", {Reals(w, 0), b, Bias(w, w.in(6), w.in(1), w.in(4), alpha)}, w.node().attrs);
  return w.in(7) == nullptr ? One(y) : Integers(w, y, 7);
}

Value* PlusBias(Writer& w, Value* y, size_t i) {
  return w.in(i) == nullptr ? y : w.Make("Add", {y, w.in(i)});
}

Results MatMulIntegerToFloat(Writer& w) {
  Value* a = w.Make("DequantizeLinear", {w.in(0), w.in(2), w.in(4)});
  Value* b = w.Make("DequantizeLinear", {w.in(1), w.in(3), w.in(5)}, {{"axis", int64_t{1}}});
  return One(PlusBias(w, w.Make("MatMul", {a, b}), 6));
}

Results DynamicQuantizeMatMul(Writer& w) {
  const std::vector<Value*> x = w.Make("DynamicQuantizeLinear", {w.in(0)}, 3);
  Value* a = w.Make("DequantizeLinear", x);
  Value* b = w.Make("DequantizeLinear", {w.in(1), w.in(2), w.in(3)}, {{"axis", int64_t{1}}});
  return One(PlusBias(w, w.Make("MatMul", {a, b}), 4));
}

// Weights of DynamicQuantizeLSTM, [directions, inputs, gates] with a scale a direction or a gate, as LSTM has
// them.
absl::StatusOr<Value*> LstmWeights(Writer& w, size_t weights, size_t scale) {
  const Value* scales = w.in(scale);
  if (scales == nullptr || !scales->is_constant())
    return absl::UnimplementedError("scales are computed, expected constants");
  const std::vector<int64_t> axes =
      scales->constant->shape().size() == 2 ? std::vector<int64_t>{1} : std::vector<int64_t>{1, 2};
  const auto spread = [&](Value* value) { return w.Make("Unsqueeze", {value, w.Integers(axes)}); };
  Value* reals = Cast(w, w.in(weights), kFloat);
  if (w.in(scale + 1) != nullptr) reals = w.Make("Sub", {reals, Cast(w, spread(w.in(scale + 1)), kFloat)});
  reals = w.Make("Mul", {reals, spread(w.in(scale))});
  return w.Make("Transpose", {reals}, {{"perm", std::vector<int64_t>{0, 2, 1}}});
}

// The real numbers are not quantized here: what that would save is little, and what it costs is accuracy.
Results DynamicQuantizeLSTM(Writer& w) {
  ASSIGN_OR_RETURN(Value * weights, LstmWeights(w, 1, 8));
  ASSIGN_OR_RETURN(Value * recurrence, LstmWeights(w, 2, 10));
  return w.Make("LSTM", {w.in(0), weights, recurrence, w.in(3), w.in(4), w.in(5), w.in(6), w.in(7)},
                w.node().outputs.size(), w.node().attrs);
}

Results Quantizer(Writer& w) {
  return One(
      w.Make(w.node().op.substr(w.node().op.rfind('.') + 1), {w.in(0), w.in(1), w.in(2)}, w.node().attrs));
}

// ---- operators on what QuantizeLinear makes

// The QuantizeLinear with one scale whose integers `value` holds, moved perhaps; null: there is none.
const Node* QuantizerOf(const Value* value) {
  constexpr std::string_view kMoves[] = {"Flatten", "MaxPool", "Reshape",   "Slice",
                                         "Squeeze", "Split",   "Transpose", "Unsqueeze"};
  const Node* node = value == nullptr ? nullptr : value->producer;
  while (node != nullptr && std::ranges::find(kMoves, node->op) != std::end(kMoves))
    node = node->input(0) == nullptr ? nullptr : node->input(0)->producer;
  if (node == nullptr || node->op != "QuantizeLinear") return nullptr;
  const Value* scale = node->input(1);
  return scale != nullptr && scale->is_constant() && scale->constant->count() == 1 ? node : nullptr;
}

bool IsSameConstant(const Value* a, const Value* b) {
  if (a == b) return true;
  if (a == nullptr || b == nullptr || !a->is_constant() || !b->is_constant()) return false;
  return a->constant->dtype() == b->constant->dtype() &&
         std::ranges::equal(a->constant->bytes(), b->constant->bytes());
}

bool AreIntegersOfOneScale(const Node& node) {
  const Node* first = node.inputs.empty() ? nullptr : QuantizerOf(node.inputs[0]);
  return first != nullptr && std::ranges::all_of(node.inputs, [&](const Value* input) {
           const Node* other = QuantizerOf(input);
           return other != nullptr && IsSameConstant(first->input(1), other->input(1)) &&
                  IsSameConstant(first->input(2), other->input(2)) && first->attrs == other->attrs;
         });
}

bool AreIntegers(const Node& node) { return QuantizerOf(node.input(0)) != nullptr; }

// What an operator that compares or moves integers does to the real numbers they stand for, as integers
// again: the same ones.
Value* OnReals(Writer& w, const Node& quantizer, const std::string& op) {
  Value *scale = quantizer.inputs[1], *zero_point = quantizer.input(2);
  std::vector<Value*> reals;
  for (Value* input : w.node().inputs)
    reals.push_back(input == nullptr ? nullptr : w.Make("DequantizeLinear", {input, scale, zero_point}));
  Value* result = w.Make(op, std::move(reals), w.node().attrs);
  return w.Make("QuantizeLinear", {result, scale, zero_point}, quantizer.attrs);
}

Results OfIntegers(Writer& w) { return One(OnReals(w, *QuantizerOf(w.in(0)), w.node().op)); }

constexpr DecomposeRule kRules[] = {
    {"Clip", OfIntegers, AreIntegers},
    {"Concat", OfIntegers, AreIntegersOfOneScale},
    {"Max", OfIntegers, AreIntegersOfOneScale},
    {"Min", OfIntegers, AreIntegersOfOneScale},
    {"ConvInteger", ConvInteger},
    {"MatMulInteger", MatMulInteger},
    {"QLinearConv", QLinearConv},
    {"QLinearMatMul", QLinearMatMul},
    {"com.microsoft.DequantizeLinear", Quantizer},
    {"com.microsoft.DynamicQuantizeLSTM", DynamicQuantizeLSTM},
    {"com.microsoft.DynamicQuantizeMatMul", DynamicQuantizeMatMul},
    {"com.microsoft.MatMulIntegerToFloat", MatMulIntegerToFloat},
    {"com.microsoft.QGemm", QGemm},
    {"com.microsoft.QLinearAdd", OfTwo},
    {"com.microsoft.QLinearAveragePool", OfOne},
    {"com.microsoft.QLinearConcat", QLinearConcat},
    {"com.microsoft.QLinearConv", QLinearConv},
    {"com.microsoft.QLinearGlobalAveragePool", OfOne},
    {"com.microsoft.QLinearLeakyRelu", OfOne},
    {"com.microsoft.QLinearMul", OfTwo},
    {"com.microsoft.QLinearReduceMean", QLinearReduceMean},
    {"com.microsoft.QLinearSigmoid", OfOne},
    {"com.microsoft.QLinearSoftmax", QLinearSoftmax},
    {"com.microsoft.QLinearWhere", QLinearWhere},
    {"com.microsoft.QuantizeLinear", Quantizer},
};

}  // namespace

std::span<const DecomposeRule> QuantizedRules() { return kRules; }

}  // namespace hachi
