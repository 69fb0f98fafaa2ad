#include "engine/ops/broadcast.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "engine/base/status_macros.h"
#include "engine/ops/infer.h"
#include "engine/ops/onednn_step.h"
#include "engine/ops/quantized.h"

namespace hachi {
namespace {

// With 1s in front, in a layout whose bytes are the same.
TensorSpec Widen(TensorSpec spec, const TensorSpec& result, size_t rank) {
  const size_t added = rank - spec.shape.size();
  std::vector<int> order;
  for (size_t axis = 0; axis < added; ++axis) order.push_back(static_cast<int>(axis));
  for (const int axis : spec.layout.Order(spec.shape.size())) order.push_back(axis + static_cast<int>(added));
  spec.shape.insert(spec.shape.begin(), added, 1);
  spec.layout = Layout::FromOrder(std::move(order));
  if (spec.layout.SameBytes(result.layout, spec.shape)) spec.layout = result.layout;
  return spec;
}

}  // namespace

absl::Status InferBroadcast(Node& node) {
  RETURN_IF_ERROR(CheckInputCount(node, 1, node.inputs.size()));
  SymbolicShape dims;
  const DType dtype = node.inputs[0]->dtype;
  const bool real = IsReal(*node.inputs[0]);
  for (size_t i = 0; i < node.inputs.size(); ++i) {
    if (node.inputs[i] == nullptr)
      return absl::InvalidArgumentError(absl::StrCat("input ", i, " is left out, expected a value"));
    if (real) {
      RETURN_IF_ERROR(CheckReal(node, i));
    } else {
      RETURN_IF_ERROR(CheckInputType(node, i, {dtype}));
      if (dtype == DType::kBool || dtype == DType::kF16 || dtype == DType::kBF16)
        return absl::UnimplementedError(
            absl::StrCat("inputs have type ", std::string(NameOf(dtype)), ", expected f32 or integers"));
    }
    ASSIGN_OR_RETURN(dims, BroadcastDims(dims, *node.inputs[i]->dims));
  }
  return SetOutput(node, real ? RealType(*node.outputs[0]) : dtype, std::move(dims));
}

std::optional<PairedContent> PairContents(const Node& node) {
  if (node.inputs[0]->rank() > 1 || node.inputs[1]->rank() > 1) return std::nullopt;
  const auto a = ContentOf(*node.inputs[0]), b = ContentOf(*node.inputs[1]);
  if (!a || !b) return std::nullopt;
  const size_t count = a->size() == 1 ? b->size() : a->size();
  if ((a->size() != 1 && a->size() != count) || (b->size() != 1 && b->size() != count)) return std::nullopt;
  PairedContent pairs;
  for (size_t i = 0; i < count; ++i) {
    pairs.a.push_back((*a)[a->size() == 1 ? 0 : i]);
    pairs.b.push_back((*b)[b->size() == 1 ? 0 : i]);
  }
  return pairs;
}

int64_t BroadcastIndex(int64_t i, std::span<const int64_t> shape, std::span<const int64_t> operand) {
  int64_t index = 0, stride = 1;
  for (size_t k = 1; k <= operand.size(); ++k) {
    const int64_t size = operand[operand.size() - k];
    if (size != 1) index += i % shape[shape.size() - k] * stride;
    i /= shape[shape.size() - k];
    stride *= size;
  }
  return index;
}

absl::Status ReferenceBroadcast(const Node& node, std::span<const TensorView> inputs,
                                std::span<Tensor> outputs, const BinaryFunction& function) {
  Tensor& y = outputs[0];
  const bool real = IsReal(*node.inputs[0]);
  VisitDType(y.dtype(), [&](auto zero) {
    using T = decltype(zero);
    for (int64_t i = 0; i < y.count(); ++i) {
      const auto at = [&](size_t k) { return BroadcastIndex(i, y.shape(), inputs[k].shape); };
      if (real) {
        const auto element = [&](size_t k) {
          return static_cast<double>(RealAt(inputs[k], at(k), node.inputs[k]->quant));
        };
        double result = element(0);
        for (size_t k = 1; k < inputs.size(); ++k) result = function.real(result, element(k));
        StoreReal(y, i, ApplyPostOps(node, inputs, i, static_cast<float>(result)), node.outputs[0]->quant);
      } else if constexpr (std::is_same_v<T, double>) {
        double result = inputs[0].As<double>()[at(0)];
        for (size_t k = 1; k < inputs.size(); ++k)
          result = function.real(result, inputs[k].As<double>()[at(k)]);
        y.As<double>()[i] = result;
      } else {
        int64_t result = IntegerAt(inputs[0], at(0));
        for (size_t k = 1; k < inputs.size(); ++k)
          result =
              static_cast<int64_t>(static_cast<T>(function.integer(result, IntegerAt(inputs[k], at(k)))));
        y.As<T>()[i] = static_cast<T>(result);
      }
    }
  });
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<Step>> LowerBinary(const LowerContext& context, BinarySpec::Kind kind) {
  const Node& node = context.node;
  if (!IsReal(*node.inputs[0]) || node.inputs.size() != 2)
    return absl::UnimplementedError("integers that stand for no real numbers have no kernel, expected f32");
  BinarySpec spec{.kind = kind, .post_ops = node.post_ops};
  const TensorSpec dst = context.Output();
  const size_t rank = std::max<size_t>(dst.shape.size(), 1);
  spec.dst = Widen(dst, dst, rank);
  spec.src = Widen(context.Input(0), spec.dst, rank);
  spec.src1 = Widen(context.Input(1), spec.dst, rank);
  OnednnStep::Operands operands{.src = 0, .src1 = 1};
  // The library broadcasts its second operand only.
  const bool commutes = kind != BinarySpec::Kind::kSub && kind != BinarySpec::Kind::kDiv;
  if (commutes && spec.src.shape != spec.dst.shape) {
    std::swap(spec.src, spec.src1);
    std::swap(operands.src, operands.src1);
  }
  if (spec.src.shape != spec.dst.shape)
    return absl::UnimplementedError("two operands that broadcast have no kernel, expected one");
  ASSIGN_OR_RETURN(auto primitive, MakeBinary(spec));
  return std::make_unique<OnednnStep>(std::move(primitive), operands);
}

}  // namespace hachi
