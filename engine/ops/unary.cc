#include "engine/ops/unary.h"

#include "engine/base/status_macros.h"
#include "engine/ops/infer.h"
#include "engine/ops/quantized.h"
#include "engine/ops/table_step.h"

namespace hachi {
namespace {

class UnaryStep final : public KernelStep {
 public:
  UnaryStep(UnaryFunction function, size_t count)
      : KernelStep({.kernel = "hachi_unary"}), function_(function), count_(count) {}

  bool Reads(size_t input) const override { return input == 0; }

 protected:
  absl::Status Run(const StepBuffers& buffers) const override {
    ApplyUnary(function_, {reinterpret_cast<const float*>(buffers.inputs[0]), count_},
               {reinterpret_cast<float*>(buffers.outputs[0]), count_});
    return absl::OkStatus();
  }

 private:
  const UnaryFunction function_;
  const size_t count_;
};

}  // namespace

absl::Status InferUnary(Node& node) {
  RETURN_IF_ERROR(CheckInputCount(node, 1, 1));
  RETURN_IF_ERROR(CheckReal(node, 0));
  return SetOutput(node, RealType(*node.outputs[0]), *node.inputs[0]->dims);
}

absl::Status ReferenceUnary(const UnaryOp& op, const Node& node, std::span<const TensorView> inputs,
                            std::span<Tensor> outputs) {
  for (int64_t i = 0; i < outputs[0].count(); ++i) {
    const double y = op.function(static_cast<double>(RealAt(inputs[0], i, node.inputs[0]->quant)));
    StoreReal(outputs[0], i, ApplyPostOps(node, inputs, i, static_cast<float>(y)), node.outputs[0]->quant);
  }
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<Step>> LowerUnary(const UnaryOp& op, const LowerContext& context) {
  const TensorSpec src = context.Input(0), dst = context.Output();
  if (!src.layout.SameBytes(dst.layout, src.shape))
    return absl::UnimplementedError("input and output have different layouts, expected one");
  if (!context.node.post_ops.empty())
    return absl::UnimplementedError("a function with fused operations has no kernel, expected none");
  if (src.quant)
    return MakeTableStep(src, dst,
                         [&](float x) { return static_cast<float>(op.function(static_cast<double>(x))); });
  if (src.dtype != DType::kF32 || dst.dtype != DType::kF32)
    return absl::UnimplementedError("types other than f32 in and out have no kernel");
  return std::make_unique<UnaryStep>(op.kernel, static_cast<size_t>(src.count()));
}

}  // namespace hachi
