// Softmax (ONNX opset 13) along one axis.
#include "engine/kernels/softmax.h"

#include <cmath>
#include <limits>

#include "absl/strings/str_cat.h"
#include "engine/base/status_macros.h"
#include "engine/kernels/permute.h"
#include "engine/ops/infer.h"
#include "engine/ops/op.h"

namespace hachi {
namespace {

absl::StatusOr<size_t> AxisOf(const Node& node) {
  ASSIGN_OR_RETURN(const int64_t axis, node.Int("axis", -1));
  return CheckAxis(axis, node.inputs[0]->rank());
}

absl::Status Infer(Node& node) {
  RETURN_IF_ERROR(CheckInputCount(node, 1, 1));
  RETURN_IF_ERROR(CheckInputType(node, 0, {DType::kF32}));
  RETURN_IF_ERROR(CheckRank(node, 0, 1, 12));
  RETURN_IF_ERROR(AxisOf(node).status());
  return SetOutput(node, DType::kF32, *node.inputs[0]->dims);
}

absl::Status Reference(const Node& node, std::span<const TensorView> inputs, std::span<Tensor> outputs) {
  ASSIGN_OR_RETURN(const size_t axis, AxisOf(node));
  const auto x = inputs[0].As<float>();
  const auto y = outputs[0].As<float>();
  const int64_t length = inputs[0].shape[axis], step = CountOf(inputs[0].shape.subspan(axis + 1));
  for (int64_t i = 0; i < inputs[0].count(); ++i) {
    if (i / step % length != 0) continue;  // not the first of its lane
    float largest = -std::numeric_limits<float>::infinity();
    for (int64_t k = 0; k < length; ++k) largest = std::max(largest, x[i + k * step]);
    double sum = 0;
    for (int64_t k = 0; k < length; ++k) sum += std::exp(static_cast<double>(x[i + k * step] - largest));
    for (int64_t k = 0; k < length; ++k)
      y[i + k * step] = static_cast<float>(std::exp(static_cast<double>(x[i + k * step] - largest)) / sum);
  }
  return absl::OkStatus();
}

class SoftmaxStep final : public KernelStep {
 public:
  SoftmaxStep(size_t count, int64_t row_length)
      : KernelStep({.kernel = "hachi_softmax"}), count_(count), row_length_(row_length) {}

 protected:
  absl::Status Run(const StepBuffers& buffers) const override {
    Softmax({reinterpret_cast<const float*>(buffers.inputs[0]), count_}, row_length_,
            {reinterpret_cast<float*>(buffers.outputs[0]), count_});
    return absl::OkStatus();
  }

 private:
  const size_t count_;
  const int64_t row_length_;
};

// The axis is brought innermost and back.
class PermutedSoftmaxStep final : public KernelStep {
 public:
  PermutedSoftmaxStep(Permute to_rows, Permute from_rows, size_t count, int64_t row_length)
      : KernelStep({.kernel = "hachi_permuted_softmax", .scratch_bytes = count * sizeof(float)}),
        to_rows_(std::move(to_rows)),
        from_rows_(std::move(from_rows)),
        count_(count),
        row_length_(row_length) {}

 protected:
  absl::Status Run(const StepBuffers& buffers) const override {
    to_rows_.Run(buffers.inputs[0], buffers.scratch);
    const std::span rows(reinterpret_cast<float*>(buffers.scratch), count_);
    Softmax(rows, row_length_, rows);
    from_rows_.Run(buffers.scratch, buffers.outputs[0]);
    return absl::OkStatus();
  }

 private:
  const Permute to_rows_, from_rows_;
  const size_t count_;
  const int64_t row_length_;
};

absl::StatusOr<std::unique_ptr<Step>> Lower(const LowerContext& context) {
  const TensorSpec src = context.Input(0), dst = context.Output();
  if (!context.node.post_ops.empty())
    return absl::UnimplementedError("softmax with fused operations has no kernel, expected none");
  ASSIGN_OR_RETURN(const size_t axis, AxisOf(context.node));
  const auto count = static_cast<size_t>(src.count());
  const int64_t length = src.shape[axis];
  if (length == 0) return absl::UnimplementedError("an empty axis has no kernel");
  std::vector<int> order;
  for (const int a : src.layout.Order(src.shape.size()))
    if (a != static_cast<int>(axis)) order.push_back(a);
  order.push_back(static_cast<int>(axis));
  const Layout rows = Layout::FromOrder(std::move(order));
  if (rows.SameBytes(src.layout, src.shape) && rows.SameBytes(dst.layout, src.shape))
    return std::make_unique<SoftmaxStep>(count, length);
  ASSIGN_OR_RETURN(Permute to_rows, Permute::Create(src.shape, src.layout, rows, sizeof(float)));
  ASSIGN_OR_RETURN(Permute from_rows, Permute::Create(src.shape, rows, dst.layout, sizeof(float)));
  return std::make_unique<PermutedSoftmaxStep>(std::move(to_rows), std::move(from_rows), count, length);
}

absl::StatusOr<RowAxis> RowsOfSoftmax(const RowQuery& query) {
  ASSIGN_OR_RETURN(const size_t axis, AxisOf(query.node));
  return query.inputs[0] == axis ? MixesRows(axis) : absl::StatusOr<RowAxis>(query.inputs[0]);
}

}  // namespace

const OpDef& softmax_op() {
  static const OpDef def = {.name = "Softmax",
                            .infer = Infer,
                            .rows = RowsOfSoftmax,
                            .reference = Reference,
                            .lower = Lower,
                            .layout_agnostic = true};
  return def;
}

}  // namespace hachi
