// Gather (ONNX opset 13): slices of the data along one axis, picked by indices. Also an embedding. What an
// index out of range picks in a run is NaN (integers: all bits set), and the rest of the batch goes on.
#include <cstring>

#include "absl/strings/str_cat.h"
#include "engine/base/status_macros.h"
#include "engine/cpu/team.h"
#include "engine/ops/index_range.h"
#include "engine/ops/infer.h"
#include "engine/ops/op.h"
#include "engine/ops/quantized.h"
#include "engine/ops/take.h"

namespace hachi {
namespace {

absl::StatusOr<size_t> AxisOf(const Node& node) {
  ASSIGN_OR_RETURN(const int64_t axis, node.Int("axis", 0));
  return CheckAxis(axis, node.inputs[0]->rank());
}

absl::Status Infer(Node& node) {
  RETURN_IF_ERROR(CheckInputCount(node, 2, 2));
  RETURN_IF_ERROR(CheckRank(node, 0, 1, 12));
  RETURN_IF_ERROR(CheckInputType(node, 1, {DType::kS64, DType::kS32}));
  ASSIGN_OR_RETURN(const size_t axis, AxisOf(node));
  const SymbolicShape& data = *node.inputs[0]->dims;
  const SymbolicShape& indices = *node.inputs[1]->dims;
  const auto before = data.begin() + static_cast<std::ptrdiff_t>(axis);
  SymbolicShape dims(data.begin(), before);
  dims.insert(dims.end(), indices.begin(), indices.end());
  dims.insert(dims.end(), before + 1, data.end());
  RETURN_IF_ERROR(SetOutputLike(node, std::move(dims)));

  const auto from = ContentOf(*node.inputs[0]), picked = ContentOf(*node.inputs[1]);
  node.outputs[0]->content.reset();
  const auto numbers = picked ? ConstantShape(*picked) : std::nullopt;
  if (!from || !numbers || indices.size() > 1) return absl::OkStatus();
  SymbolicShape content;
  for (const int64_t index : *numbers) {
    const auto size = static_cast<int64_t>(from->size());
    if (index < -size || index >= size)
      return absl::InvalidArgumentError(
          absl::StrCat("an index is ", index, ", expected ", -size, " to ", size - 1));
    content.push_back((*from)[index < 0 ? index + size : index]);
  }
  node.outputs[0]->content = std::move(content);
  return absl::OkStatus();
}

absl::Status CheckValues(const Node& node, std::span<const TensorView> inputs) {
  ASSIGN_OR_RETURN(const size_t axis, AxisOf(node));
  const int64_t size = inputs[0].shape[axis];
  for (int64_t i = 0; i < inputs[1].count(); ++i)
    if (const int64_t index = IntegerAt(inputs[1], i); index < -size || index >= size)
      return absl::InvalidArgumentError(
          absl::StrCat("an index is ", index, ", expected ", -size, " to ", size - 1));
  return absl::OkStatus();
}

absl::Status Reference(const Node& node, std::span<const TensorView> inputs, std::span<Tensor> outputs) {
  ASSIGN_OR_RETURN(const size_t axis, AxisOf(node));
  const TensorView &data = inputs[0], &indices = inputs[1];
  const int64_t size = data.shape[axis], count = indices.count();
  const int64_t inner = CountOf(data.shape.subspan(axis + 1));
  const auto bytes = static_cast<int64_t>(SizeOf(data.dtype));
  for (int64_t i = 0; i < outputs[0].count(); ++i) {
    const int64_t outer = i / (count * inner), picked = i / inner % count;
    int64_t index = IntegerAt(indices, picked);
    std::byte* out = outputs[0].bytes().data() + i * bytes;
    if (index < -size || index >= size) {
      std::memset(out, kNothing, static_cast<size_t>(bytes));
      continue;
    }
    if (index < 0) index += size;
    std::memcpy(out, data.bytes + ((outer * size + index) * inner + i % inner) * bytes,
                static_cast<size_t>(bytes));
  }
  return absl::OkStatus();
}

template <typename Index>
class GatherStep final : public KernelStep {
 public:
  GatherStep(int64_t outer, int64_t size, int64_t count, int64_t run_bytes)
      : outer_(outer), size_(size), count_(count), bytes_(run_bytes) {}

 protected:
  absl::Status Run(const StepBuffers& buffers) const override {
    const std::byte* data = buffers.inputs[0];
    const auto* indices = reinterpret_cast<const Index*>(buffers.inputs[1]);
    std::byte* out = buffers.outputs[0];
    ParallelFor(outer_ * count_, kGrainBytes / (bytes_ + 1) + 1, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        const int64_t index = indices[i % count_];
        if (index < -size_ || index >= size_) {
          std::memset(out + i * bytes_, kNothing, static_cast<size_t>(bytes_));
          continue;
        }
        const int64_t from = i / count_ * size_ + (index < 0 ? index + size_ : index);
        std::memcpy(out + i * bytes_, data + from * bytes_, static_cast<size_t>(bytes_));
      }
    });
    return absl::OkStatus();
  }

 private:
  static constexpr int64_t kGrainBytes = 1 << 16;  // worth waking the team for: some µs of one core

  const int64_t outer_, size_, count_, bytes_;
};

absl::StatusOr<StepMaker> Take(const LowerContext& context) {
  for (const Value* value : {context.node.inputs[0], context.node.inputs[1], context.node.outputs[0]})
    RETURN_IF_ERROR(CheckRowMajor(context, value));
  ASSIGN_OR_RETURN(const size_t axis, AxisOf(context.node));
  const TensorSpec data = context.Input(0), indices = context.Input(1);
  const int64_t outer = CountOf(std::span(data.shape).first(axis)), size = data.shape[axis];
  const int64_t bytes =
      CountOf(std::span(data.shape).subspan(axis + 1)) * static_cast<int64_t>(SizeOf(data.dtype));
  return [=, narrow = indices.dtype == DType::kS32,
          count = indices.count()]() -> absl::StatusOr<std::unique_ptr<Step>> {
    if (narrow) return std::make_unique<GatherStep<int32_t>>(outer, size, count, bytes);
    return std::make_unique<GatherStep<int64_t>>(outer, size, count, bytes);
  };
}

absl::StatusOr<RowAxis> RowsOfGather(const RowQuery& query) {
  ASSIGN_OR_RETURN(const size_t axis, AxisOf(query.node));
  const RowAxis data = query.inputs[0], picked = query.inputs[1];
  if (data == axis) return MixesRows(axis);
  std::vector<RowAxis> found;
  if (data) found.emplace_back(*data < axis ? *data : *data + query.node.inputs[1]->rank() - 1);
  if (picked) found.emplace_back(*picked + axis);
  return OneRowAxis(found);
}

}  // namespace

std::span<const OpDef> gather_ops() {
  static const OpDef defs[] = {{.name = "Gather",
                                .infer = Infer,
                                .quantize = QuantRule::kKeepScale,
                                .rows = RowsOfGather,
                                .index_input = 1,
                                .check_values = CheckValues,
                                .reference = Reference,
                                .offers = {{.name = "hachi_gather", .take = Take}}}};
  return defs;
}

}  // namespace hachi
