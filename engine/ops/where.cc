// Where (ONNX opset 16): elements of input 1 where the bool input 0 holds, else of input 2; all three
// broadcast.
#include <cstring>

#include "absl/strings/str_cat.h"
#include "engine/base/status_macros.h"
#include "engine/cpu/team.h"
#include "engine/kernels/select.h"
#include "engine/ops/broadcast.h"
#include "engine/ops/infer.h"
#include "engine/ops/op.h"
#include "engine/ops/quantized.h"

namespace hachi {
namespace {

// What is known of the condition's elements, each 0 or 1.
std::optional<std::vector<int64_t>> KnownCondition(const Value& condition) {
  if (condition.rank() > 1) return std::nullopt;
  if (!condition.is_constant()) return condition.content ? ConstantShape(*condition.content) : std::nullopt;
  std::vector<int64_t> elements;
  for (int64_t i = 0; i < condition.constant->count(); ++i)
    elements.push_back(IntegerAt(condition.constant->view(), i));
  return elements;
}

std::optional<SymbolicShape> PickContent(const Node& node) {
  const auto condition = KnownCondition(*node.inputs[0]);
  const auto a = ContentOf(*node.inputs[1]), b = ContentOf(*node.inputs[2]);
  const auto count = CountOf(*node.outputs[0]->dims).constant();
  if (!condition || !a || !b || !count || node.outputs[0]->rank() > 1) return std::nullopt;
  SymbolicShape content;
  for (size_t i = 0; i < static_cast<size_t>(*count); ++i) {
    const SymbolicShape& from = (*condition)[condition->size() == 1 ? 0 : i] != 0 ? *a : *b;
    content.push_back(from[from.size() == 1 ? 0 : i]);
  }
  return content;
}

absl::Status Infer(Node& node) {
  RETURN_IF_ERROR(CheckInputCount(node, 3, 3));
  RETURN_IF_ERROR(CheckInputType(node, 0, {DType::kBool}));
  RETURN_IF_ERROR(CheckInputType(node, 2, {node.inputs[1]->dtype}));
  for (const size_t i : {1, 2})
    if (node.inputs[i]->quant)
      return absl::UnimplementedError(
          absl::StrCat("input ", i, " ('", node.inputs[i]->name, "') is quantized, expected it as it is"));
  ASSIGN_OR_RETURN(SymbolicShape dims, BroadcastDims(*node.inputs[1]->dims, *node.inputs[2]->dims));
  ASSIGN_OR_RETURN(dims, BroadcastDims(dims, *node.inputs[0]->dims));
  RETURN_IF_ERROR(SetOutput(node, node.inputs[1]->dtype, std::move(dims)));
  node.outputs[0]->content = PickContent(node);
  return absl::OkStatus();
}

absl::Status Reference(const Node& /*node*/, std::span<const TensorView> inputs, std::span<Tensor> outputs) {
  const Shape& shape = outputs[0].shape();
  const size_t bytes = SizeOf(outputs[0].dtype());
  for (int64_t i = 0; i < outputs[0].count(); ++i) {
    const bool holds = inputs[0].As<bool>()[BroadcastIndex(i, shape, inputs[0].shape)];
    const TensorView& from = inputs[holds ? 1 : 2];
    std::memcpy(outputs[0].bytes().data() + static_cast<size_t>(i) * bytes,
                from.bytes + static_cast<size_t>(BroadcastIndex(i, shape, from.shape)) * bytes, bytes);
  }
  return absl::OkStatus();
}

// T: an unsigned integer of the elements' size.
template <typename T>
class WhereStep final : public KernelStep {
 public:
  explicit WhereStep(BroadcastRows rows) : rows_(std::move(rows)) {}

 protected:
  absl::Status Run(const StepBuffers& buffers) const override {
    const int64_t length = rows_.length();
    ParallelFor(rows_.count(), kGrain / (length + 1) + 1, [&](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; ++row)
        RunRow(reinterpret_cast<const bool*>(buffers.inputs[0]) + rows_.Begin(0, row),
               reinterpret_cast<const T*>(buffers.inputs[1]) + rows_.Begin(1, row),
               reinterpret_cast<const T*>(buffers.inputs[2]) + rows_.Begin(2, row),
               reinterpret_cast<T*>(buffers.outputs[0]) + row * length);
    });
    return absl::OkStatus();
  }

 private:
  static constexpr int64_t kGrain = 16384;  // elements worth waking the team for: some µs

  void RunRow(const bool* condition, const T* a, const T* b, T* out) const {
    const int64_t c_stride = rows_.stride(0), a_stride = rows_.stride(1), b_stride = rows_.stride(2);
    if constexpr (sizeof(T) == sizeof(uint32_t)) {
      if (c_stride == 1 && a_stride <= 1 && b_stride <= 1)
        return Select(condition, {a, a_stride == 0}, {b, b_stride == 0}, static_cast<size_t>(rows_.length()),
                      out);
    }
    for (int64_t i = 0; i < rows_.length(); ++i)
      out[i] = condition[i * c_stride] ? a[i * a_stride] : b[i * b_stride];
  }

  const BroadcastRows rows_;
};

absl::StatusOr<StepMaker> Take(const LowerContext& context) {
  const TensorSpec operands[] = {context.Input(0), context.Input(1), context.Input(2)};
  return [rows = BroadcastRows::Of(context.Output(), operands),
          bytes = SizeOf(context.Output().dtype)]() -> absl::StatusOr<std::unique_ptr<Step>> {
    switch (bytes) {
      case 1:
        return std::make_unique<WhereStep<uint8_t>>(rows);
      case 2:
        return std::make_unique<WhereStep<uint16_t>>(rows);
      case 4:
        return std::make_unique<WhereStep<uint32_t>>(rows);
      default:
        return std::make_unique<WhereStep<uint64_t>>(rows);
    }
  };
}

}  // namespace

std::span<const OpDef> where_ops() {
  static const OpDef defs[] = {{.name = "Where",
                                .infer = Infer,
                                .rows = RowsOfElements,
                                .reference = Reference,
                                .offers = {{.name = "hachi_where", .take = Take}},
                                .layout_agnostic = true}};
  return defs;
}

}  // namespace hachi
