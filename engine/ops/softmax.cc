// Softmax and LogSoftmax (ONNX opset 13) along one axis; where our attribute `matrix` is set, along all from
// `axis` on together, as until opset 12.
#include "engine/kernels/softmax.h"

#include <cmath>
#include <limits>

#include "absl/strings/str_cat.h"
#include "engine/base/status_macros.h"
#include "engine/kernels/permute.h"
#include "engine/ops/infer.h"
#include "engine/ops/op.h"
#include "engine/ops/take.h"

namespace hachi {
namespace {

// What is normalized together.
struct Axes {
  size_t begin, end;
};

absl::StatusOr<Axes> AxesOf(const Node& node) {
  const size_t rank = node.inputs[0]->rank();
  ASSIGN_OR_RETURN(const int64_t axis, node.Int("axis", -1));
  ASSIGN_OR_RETURN(const int64_t matrix, node.Int("matrix", 0));
  ASSIGN_OR_RETURN(const size_t begin, CheckAxis(axis, rank));
  return Axes{begin, matrix != 0 ? rank : begin + 1};
}

absl::Status Infer(Node& node) {
  RETURN_IF_ERROR(CheckInputCount(node, 1, 1));
  RETURN_IF_ERROR(CheckInputType(node, 0, {DType::kF32}));
  RETURN_IF_ERROR(CheckRank(node, 0, 1, 12));
  RETURN_IF_ERROR(AxesOf(node).status());
  return SetOutput(node, DType::kF32, *node.inputs[0]->dims);
}

absl::Status Reference(const Node& node, std::span<const TensorView> inputs, std::span<Tensor> outputs,
                       bool logarithm) {
  ASSIGN_OR_RETURN(const Axes axes, AxesOf(node));
  const auto x = inputs[0].As<float>();
  const auto y = outputs[0].As<float>();
  const int64_t length = CountOf(inputs[0].shape.subspan(axes.begin, axes.end - axes.begin));
  const int64_t step = CountOf(inputs[0].shape.subspan(axes.end));
  for (int64_t i = 0; i < inputs[0].count(); ++i) {
    if (i / step % length != 0) continue;  // not the first of its lane
    float largest = -std::numeric_limits<float>::infinity();
    for (int64_t k = 0; k < length; ++k) largest = std::max(largest, x[i + k * step]);
    double sum = 0;
    for (int64_t k = 0; k < length; ++k) sum += std::exp(static_cast<double>(x[i + k * step] - largest));
    for (int64_t k = 0; k < length; ++k) {
      const auto above = static_cast<double>(x[i + k * step]) - static_cast<double>(largest);
      y[i + k * step] = static_cast<float>(logarithm ? above - std::log(sum) : std::exp(above) / sum);
    }
  }
  return absl::OkStatus();
}

using Kernel = void (*)(std::span<const float> in, int64_t row_length, std::span<float> out);

class SoftmaxStep final : public KernelStep {
 public:
  SoftmaxStep(Kernel kernel, size_t count, int64_t row_length)
      : kernel_(kernel), count_(count), row_length_(row_length) {}

 protected:
  absl::Status Run(const StepBuffers& buffers) const override {
    kernel_({reinterpret_cast<const float*>(buffers.inputs[0]), count_}, row_length_,
            {reinterpret_cast<float*>(buffers.outputs[0]), count_});
    return absl::OkStatus();
  }

 private:
  const Kernel kernel_;
  const size_t count_;
  const int64_t row_length_;
};

// The axis is brought innermost and back.
class PermutedSoftmaxStep final : public KernelStep {
 public:
  PermutedSoftmaxStep(Kernel kernel, Permute to_rows, Permute from_rows, size_t count, int64_t row_length)
      : KernelStep({.scratch_bytes = count * sizeof(float)}),
        kernel_(kernel),
        to_rows_(std::move(to_rows)),
        from_rows_(std::move(from_rows)),
        count_(count),
        row_length_(row_length) {}

 protected:
  absl::Status Run(const StepBuffers& buffers) const override {
    to_rows_.Run(buffers.inputs[0], buffers.scratch);
    const std::span rows(reinterpret_cast<float*>(buffers.scratch), count_);
    kernel_(rows, row_length_, rows);
    from_rows_.Run(buffers.scratch, buffers.outputs[0]);
    return absl::OkStatus();
  }

 private:
  const Kernel kernel_;
  const Permute to_rows_, from_rows_;
  const size_t count_;
  const int64_t row_length_;
};

// What is normalized together, as rows of memory.
struct Rows {
  TensorSpec src, dst;
  size_t count;    // of elements
  int64_t length;  // of a row
  Layout layout;   // in which the axes are innermost

  static absl::StatusOr<Rows> Of(const LowerContext& context) {
    RETURN_IF_ERROR(CheckNothingFused(context.node));
    ASSIGN_OR_RETURN(const Axes axes, AxesOf(context.node));
    Rows rows{context.Input(0), context.Output(), 0, 0, {}};
    rows.count = static_cast<size_t>(rows.src.count());
    rows.length = CountOf(std::span(rows.src.shape).subspan(axes.begin, axes.end - axes.begin));
    if (rows.length == 0) return absl::UnimplementedError("the axis is empty, expected elements");
    std::vector<int> order;
    for (const int axis : rows.src.layout.Order(rows.src.shape.size()))
      if (axis < static_cast<int>(axes.begin) || axis >= static_cast<int>(axes.end)) order.push_back(axis);
    for (size_t axis = axes.begin; axis < axes.end; ++axis) order.push_back(static_cast<int>(axis));
    rows.layout = Layout::FromOrder(std::move(order));
    return rows;
  }
};

absl::StatusOr<StepMaker> Take(const LowerContext& context, Kernel kernel) {
  ASSIGN_OR_RETURN(const Rows rows, Rows::Of(context));
  for (const TensorSpec& spec : {rows.src, rows.dst})
    if (!rows.layout.SameBytes(spec.layout, spec.shape))
      return absl::UnimplementedError("the axis is not innermost in memory, expected it to be");
  return [kernel, count = rows.count, length = rows.length] {
    return std::make_unique<SoftmaxStep>(kernel, count, length);
  };
}

absl::StatusOr<StepMaker> TakePermuted(const LowerContext& context, Kernel kernel) {
  ASSIGN_OR_RETURN(const Rows rows, Rows::Of(context));
  ASSIGN_OR_RETURN(Permute to_rows,
                   Permute::Create(rows.src.shape, rows.src.layout, rows.layout, sizeof(float)));
  ASSIGN_OR_RETURN(Permute from_rows,
                   Permute::Create(rows.src.shape, rows.layout, rows.dst.layout, sizeof(float)));
  return [kernel, to_rows = std::move(to_rows), from_rows = std::move(from_rows), count = rows.count,
          length = rows.length] {
    return std::make_unique<PermutedSoftmaxStep>(kernel, to_rows, from_rows, count, length);
  };
}

absl::StatusOr<RowAxis> RowsOfSoftmax(const RowQuery& query) {
  ASSIGN_OR_RETURN(const Axes axes, AxesOf(query.node));
  const RowAxis& rows = query.inputs[0];
  if (rows && *rows >= axes.begin && *rows < axes.end) return MixesRows(*rows);
  return rows;
}

OpDef Member(std::string_view name, Kernel kernel, bool logarithm) {
  return {.name = name,
          .infer = Infer,
          .rows = RowsOfSoftmax,
          .reference = [=](const Node& node, std::span<const TensorView> inputs,
                           std::span<Tensor> outputs) { return Reference(node, inputs, outputs, logarithm); },
          .offers = {{.name = "hachi_softmax",
                      .take = [=](const LowerContext& context) { return Take(context, kernel); }},
                     {.name = "hachi_permuted_softmax",
                      .take = [=](const LowerContext& context) { return TakePermuted(context, kernel); }}},
          .layout_agnostic = true};
}

}  // namespace

std::span<const OpDef> softmax_ops() {
  static const OpDef defs[] = {Member("LogSoftmax", LogSoftmax, true), Member("Softmax", Softmax, false)};
  return defs;
}

}  // namespace hachi
