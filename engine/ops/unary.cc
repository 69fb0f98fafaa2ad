#include "engine/ops/unary.h"

#include "engine/base/status_macros.h"
#include "engine/ops/infer.h"
#include "engine/ops/quantized.h"
#include "engine/ops/table_step.h"
#include "engine/ops/take.h"

namespace hachi {
namespace {

class UnaryStep final : public KernelStep {
 public:
  UnaryStep(UnaryFunction function, size_t count) : function_(function), count_(count) {}

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

absl::StatusOr<StepMaker> TakeUnary(UnaryFunction function, const LowerContext& context) {
  const TensorSpec src = context.Input(0), dst = context.Output();
  RETURN_IF_ERROR(CheckOneLayout(src, dst));
  RETURN_IF_ERROR(CheckNothingFused(context.node));
  if (src.dtype != DType::kF32 || dst.dtype != DType::kF32)
    return absl::UnimplementedError("types are not f32 in and out, expected those");
  return [function, count = static_cast<size_t>(src.count())] {
    return std::make_unique<UnaryStep>(function, count);
  };
}

std::vector<Offer> UnaryOffers(const UnaryOp& op) {
  const auto take_table = [function = op.function](const LowerContext& context) -> absl::StatusOr<StepMaker> {
    RETURN_IF_ERROR(CheckNothingFused(context.node));
    return TakeTable(context,
                     [function](float x) { return static_cast<float>(function(static_cast<double>(x))); });
  };
  const auto take_reals = [kernel = op.kernel](const LowerContext& context) {
    return TakeUnary(kernel, context);
  };
  return {{.name = "hachi_table", .take = take_table}, {.name = "hachi_unary", .take = take_reals}};
}

}  // namespace hachi
