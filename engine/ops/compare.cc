// Comparisons and logic, which broadcast as NumPy does and give bool. A member is a row of compare_ops().
#include <functional>

#include "engine/base/status_macros.h"
#include "engine/cpu/team.h"
#include "engine/ops/broadcast.h"
#include "engine/ops/infer.h"
#include "engine/ops/op.h"

namespace hachi {
namespace {

constexpr std::initializer_list<DType> kLogic = {DType::kBool};
constexpr std::initializer_list<DType> kNumbers = {DType::kF32, DType::kS32, DType::kS64};
constexpr std::initializer_list<DType> kNumbersAndLogic = {DType::kF32, DType::kS32, DType::kS64,
                                                           DType::kBool};

// What is known of the result for two elements of shapes.
using CompareDims = std::optional<Dim> (*)(const Dim& a, const Dim& b);

// What depends on symbols is a dimension, and not negative.
std::optional<Dim> AreEqual(const Dim& a, const Dim& b) {
  if (a == b) return Dim(1);
  const auto left = a.constant(), right = b.constant();
  const bool negative = (left && *left < 0) || (right && *right < 0);
  return (left && right) || negative ? std::optional(Dim(0)) : std::nullopt;
}

// The one operand is both.
struct NotFirst {
  template <typename T>
  bool operator()(T a, T /*b*/) const {
    return !a;
  }
};

absl::Status Infer(Node& node, size_t arity, std::initializer_list<DType> types, CompareDims content) {
  RETURN_IF_ERROR(CheckInputCount(node, arity, arity));
  RETURN_IF_ERROR(CheckInputType(node, 0, types));
  if (arity == 1) return SetOutput(node, DType::kBool, *node.inputs[0]->dims);
  RETURN_IF_ERROR(CheckInputType(node, 1, {node.inputs[0]->dtype}));
  ASSIGN_OR_RETURN(SymbolicShape dims, BroadcastDims(*node.inputs[0]->dims, *node.inputs[1]->dims));
  RETURN_IF_ERROR(SetOutput(node, DType::kBool, std::move(dims)));
  if (content != nullptr) node.outputs[0]->content = CombineContents(node, content);
  return absl::OkStatus();
}

template <typename Compare>
absl::Status Reference(const Node& /*node*/, std::span<const TensorView> inputs, std::span<Tensor> outputs) {
  const TensorView &left = inputs.front(), &right = inputs.back();
  VisitDType(left.dtype, [&](auto zero) {
    using T = decltype(zero);
    for (int64_t i = 0; i < outputs[0].count(); ++i) {
      const T a = left.As<T>()[BroadcastIndex(i, outputs[0].shape(), left.shape)];
      const T b = right.As<T>()[BroadcastIndex(i, outputs[0].shape(), right.shape)];
      outputs[0].As<bool>()[i] = Compare()(a, b);
    }
  });
  return absl::OkStatus();
}

template <typename Compare>
class CompareStep final : public KernelStep {
 public:
  CompareStep(DType dtype, BroadcastRows rows) : dtype_(dtype), rows_(std::move(rows)) {}

 protected:
  absl::Status Run(const StepBuffers& buffers) const override {
    VisitDType(dtype_, [&](auto zero) {
      using T = decltype(zero);
      const int64_t length = rows_.length();
      ParallelFor(rows_.count(), kGrain / (length + 1) + 1, [&](int64_t begin, int64_t end) {
        for (int64_t row = begin; row < end; ++row)
          RunRow(reinterpret_cast<const T*>(buffers.inputs.front()) + rows_.Begin(0, row),
                 reinterpret_cast<const T*>(buffers.inputs.back()) + rows_.Begin(1, row),
                 reinterpret_cast<bool*>(buffers.outputs[0]) + row * length);
      });
    });
    return absl::OkStatus();
  }

 private:
  static constexpr int64_t kGrain = 16384;  // elements worth waking the team for: some µs

  template <typename T>
  void RunRow(const T* a, const T* b, bool* out) const {
    const int64_t length = rows_.length(), a_stride = rows_.stride(0), b_stride = rows_.stride(1);
    if (a_stride == 1 && b_stride == 1) {
      for (int64_t i = 0; i < length; ++i) out[i] = Compare()(a[i], b[i]);
    } else {
      for (int64_t i = 0; i < length; ++i) out[i] = Compare()(a[i * a_stride], b[i * b_stride]);
    }
  }

  const DType dtype_;
  const BroadcastRows rows_;
};

template <typename Compare>
absl::StatusOr<StepMaker> Take(const LowerContext& context) {
  const TensorSpec operands[] = {context.Input(0), context.Input(context.node.inputs.size() - 1)};
  return [dtype = operands[0].dtype, rows = BroadcastRows::Of(context.Output(), operands)] {
    return std::make_unique<CompareStep<Compare>>(dtype, rows);
  };
}

// `types` are those of the operands, which have one.
template <typename Compare>
OpDef Member(std::string_view name, std::initializer_list<DType> types, CompareDims content = nullptr,
             size_t arity = 2) {
  return {.name = name,
          .infer = [=](Node& node) { return Infer(node, arity, types, content); },
          .rows = RowsOfElements,
          .reference = Reference<Compare>,
          .offers = {{.name = "hachi_compare", .take = Take<Compare>}},
          .layout_agnostic = true};
}

}  // namespace

std::span<const OpDef> compare_ops() {
  static const OpDef defs[] = {
      Member<std::logical_and<>>("And", kLogic),
      Member<std::equal_to<>>("Equal", kNumbersAndLogic, AreEqual),
      Member<std::greater<>>("Greater", kNumbers),
      Member<std::greater_equal<>>("GreaterOrEqual", kNumbers),
      Member<std::less<>>("Less", kNumbers),
      Member<std::less_equal<>>("LessOrEqual", kNumbers),
      Member<NotFirst>("Not", kLogic, nullptr, /*arity=*/1),
      Member<std::logical_or<>>("Or", kLogic),
      Member<std::not_equal_to<>>("Xor", kLogic),
  };
  return defs;
}

}  // namespace hachi
