#include "engine/ops/infer.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "engine/base/status_macros.h"
#include "engine/ops/quantized.h"

namespace hachi {

absl::Status CheckInputCount(const Node& node, size_t min, size_t max) {
  if (node.inputs.size() > max || node.inputs.size() < min)
    return absl::InvalidArgumentError(absl::StrCat(node.inputs.size(), " inputs, expected ", min,
                                                   min == max ? "" : absl::StrCat(" to ", max)));
  for (size_t i = 0; i < min; ++i)
    if (node.inputs[i] == nullptr)
      return absl::InvalidArgumentError(absl::StrCat("input ", i, " is left out, expected a value"));
  return absl::OkStatus();
}

absl::Status CheckInputType(const Node& node, size_t i, std::initializer_list<DType> types) {
  const DType found = node.inputs[i]->dtype;
  if (std::find(types.begin(), types.end(), found) != types.end()) return absl::OkStatus();
  std::string expected;
  for (const DType type : types)
    absl::StrAppend(&expected, expected.empty() ? "" : " or ", std::string(NameOf(type)));
  return absl::UnimplementedError(absl::StrCat("input ", i, " ('", node.inputs[i]->name, "') has type ",
                                               std::string(NameOf(found)), ", expected ", expected));
}

absl::Status CheckReal(const Node& node, size_t i) {
  if (node.inputs[i]->quant) return CheckInputType(node, i, {DType::kU8, DType::kS8});
  return CheckInputType(node, i, {DType::kF32});
}

absl::Status CheckElementCount(const Node& node, size_t i, int64_t count) {
  const Value& input = *node.inputs[i];
  if (CountOf(*input.dims) == Dim(count)) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("input ", i, " ('", input.name, "') has shape ",
                                                 ShapeText(*input.dims), ", expected ", count,
                                                 count == 1 ? " element" : " elements"));
}

absl::Status CheckRank(const Node& node, size_t i, size_t min, size_t max) {
  const size_t rank = node.inputs[i]->rank();
  if (rank >= min && rank <= max) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("input ", i, " ('", node.inputs[i]->name, "') has rank ",
                                                 rank, ", expected ", min,
                                                 min == max ? "" : absl::StrCat(" to ", max)));
}

absl::StatusOr<size_t> CheckAxis(int64_t axis, size_t rank) {
  const auto signed_rank = static_cast<int64_t>(rank);
  if (axis < -signed_rank || axis >= signed_rank)
    return absl::InvalidArgumentError(
        absl::StrCat("axis is ", axis, ", expected ", -signed_rank, " to ", signed_rank - 1));
  return static_cast<size_t>(axis < 0 ? axis + signed_rank : axis);
}

bool MayBeEqual(const Dim& a, const Dim& b) {
  if (a == b) return true;
  const auto rounds = [](const Dim& dim) { return dim.ToText().find("floor(") != std::string::npos; };
  return rounds(a) && rounds(b);
}

absl::StatusOr<SymbolicShape> BroadcastDims(const SymbolicShape& a, const SymbolicShape& b) {
  const size_t rank = std::max(a.size(), b.size());
  SymbolicShape dims(rank);
  for (size_t i = 0; i < rank; ++i) {
    const Dim left = i + a.size() < rank ? Dim(1) : a[i + a.size() - rank];
    const Dim right = i + b.size() < rank ? Dim(1) : b[i + b.size() - rank];
    if (right == Dim(1) || MayBeEqual(left, right)) {
      dims[i] = left;
    } else if (left == Dim(1)) {
      dims[i] = right;
    } else {
      return absl::InvalidArgumentError(absl::StrCat("shapes ", ShapeText(a), " and ", ShapeText(b),
                                                     " do not broadcast, expected equal dimensions or 1"));
    }
  }
  return dims;
}

absl::Status SetOutput(Node& node, DType dtype, SymbolicShape dims) {
  if (node.outputs.size() != 1)
    return absl::InvalidArgumentError(absl::StrCat(node.outputs.size(), " outputs, expected 1"));
  node.outputs[0]->dtype = dtype;
  node.outputs[0]->dims = std::move(dims);
  return absl::OkStatus();
}

absl::Status SetOutputLike(Node& node, SymbolicShape dims) {
  const Value& input = *node.inputs[0];
  if (input.quant && !input.quant->per_tensor())
    return absl::UnimplementedError(
        absl::StrCat("input '", input.name, "' is quantized per channel, expected per tensor"));
  RETURN_IF_ERROR(SetOutput(node, input.dtype, std::move(dims)));
  node.outputs[0]->quant = input.quant;
  return absl::OkStatus();
}

absl::Status InferLikeInput(Node& node) {
  RETURN_IF_ERROR(CheckInputCount(node, 1, 1));
  RETURN_IF_ERROR(SetOutputLike(node, *node.inputs[0]->dims));
  node.outputs[0]->content = ContentOf(*node.inputs[0]);
  return absl::OkStatus();
}

DType RealType(const Value& output) { return output.quant ? output.dtype : DType::kF32; }

DType ProductType(const Node& node) {
  const bool bf16 = node.inputs[0]->dtype == DType::kBF16 && node.outputs[0]->dtype == DType::kBF16;
  return bf16 ? DType::kBF16 : RealType(*node.outputs[0]);
}

absl::Status CheckOperand(const Node& node, size_t i) {
  const Value& input = *node.inputs[i];
  if (input.quant) return CheckInputType(node, i, {DType::kU8, DType::kS8});
  const DType other = node.inputs[1 - i]->dtype;
  if (input.dtype == DType::kBF16 && other == DType::kBF16) return absl::OkStatus();
  return CheckInputType(node, i, {DType::kF32});
}

bool IsReal(const Value& value) { return value.dtype == DType::kF32 || value.quant.has_value(); }

std::optional<SymbolicShape> ContentOf(const Value& value) {
  if (!value.is_constant()) return value.content;
  const TensorView view = value.constant->view();
  const bool integers = view.dtype == DType::kS64 || view.dtype == DType::kS32;
  if (!integers || view.shape.size() > 1 || view.count() > kMaxContent) return std::nullopt;
  SymbolicShape content;
  for (int64_t i = 0; i < view.count(); ++i) content.emplace_back(IntegerAt(view, i));
  return content;
}

std::optional<Tensor> KnownElements(const Value& value) {
  if (!value.content || !value.dims || value.rank() > 1) return std::nullopt;
  const auto numbers = ConstantShape(*value.content);
  const auto shape = ConstantShape(*value.dims);
  if (!numbers || !shape) return std::nullopt;
  Tensor tensor(value.dtype, *shape);
  const bool written = VisitDType(value.dtype, [&](auto zero) {
    using T = decltype(zero);
    for (size_t i = 0; i < numbers->size(); ++i) tensor.As<T>()[i] = static_cast<T>((*numbers)[i]);
  });
  if (!written) return std::nullopt;
  return tensor;
}

absl::StatusOr<AxisNumbers> KnownInts(const Node& node, size_t i, std::string_view what) {
  const Value* value = node.input(i);
  if (value == nullptr)
    return absl::InvalidArgumentError(
        absl::StrCat("input ", i, " (", std::string(what), ") is left out, expected it"));
  AxisNumbers numbers;
  if (value->is_constant() && value->constant->shape().size() <= 1 &&
      (value->dtype == DType::kS64 || value->dtype == DType::kS32)) {
    for (int64_t k = 0; k < value->constant->count(); ++k)
      numbers.push_back(IntegerAt(value->constant->view(), k));
    return numbers;
  }
  const auto content = ContentOf(*value);
  const auto known = content ? ConstantShape(*content) : std::nullopt;
  if (!known)
    return absl::UnimplementedError(absl::StrCat("input ", i, " (", std::string(what), ", '", value->name,
                                                 "') is computed, expected constant integers"));
  numbers.assign(known->begin(), known->end());
  return numbers;
}

}  // namespace hachi
