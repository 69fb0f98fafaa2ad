#include "engine/ops/activation.h"

#include "engine/base/status_macros.h"
#include "engine/onednn/binary.h"
#include "engine/ops/infer.h"
#include "engine/ops/onednn_step.h"
#include "engine/ops/quantized.h"
#include "engine/ops/table_step.h"

namespace hachi {
absl::Status InferActivation(Node& node) {
  RETURN_IF_ERROR(CheckInputCount(node, 1, 1));
  RETURN_IF_ERROR(CheckReal(node, 0));
  RETURN_IF_ERROR(FindOp(node.op)->as_post_op(node).status());
  return SetOutput(node, RealType(*node.outputs[0]), *node.inputs[0]->dims);
}

absl::Status ReferenceActivation(const Node& node, std::span<const TensorView> inputs,
                                 std::span<Tensor> outputs) {
  ASSIGN_OR_RETURN(const PostOp post_op, FindOp(node.op)->as_post_op(node));
  for (int64_t i = 0; i < outputs[0].count(); ++i) {
    const float y = ApplyPostOp(post_op, RealAt(inputs[0], i, node.inputs[0]->quant), 0.0f);
    StoreReal(outputs[0], i, ApplyPostOps(node, inputs, i, y), node.outputs[0]->quant);
  }
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<Step>> LowerActivation(const LowerContext& context) {
  const TensorSpec src = context.Input(0), dst = context.Output();
  if (!src.layout.SameBytes(dst.layout, src.shape))
    return absl::UnimplementedError("input and output have different layouts, expected one");
  std::vector<PostOp> functions = context.node.post_ops;
  ASSIGN_OR_RETURN(const PostOp own, FindOp(context.node.op)->as_post_op(context.node));
  functions.insert(functions.begin(), own);
  for (const PostOp& function : functions)
    if (function.kind == PostOp::Kind::kAdd)
      return absl::UnimplementedError("an activation with a residual has no kernel");

  if (!src.quant) {
    if (dst.quant || functions.size() > 1)
      return absl::UnimplementedError("FP32 with INT8 result or fused operations has no kernel");
    // A row in memory order: the library knows no scalars.
    ASSIGN_OR_RETURN(auto primitive, MakeEltwise(own, {DType::kF32, {src.count()}, Layout(), std::nullopt}));
    return std::make_unique<OnednnStep>(std::move(primitive), OnednnStep::Operands{});
  }
  return MakeTableStep(src, dst, [&](float x) {
    for (const PostOp& function : functions) x = ApplyPostOp(function, x, 0.0f);
    return x;
  });
}

}  // namespace hachi
