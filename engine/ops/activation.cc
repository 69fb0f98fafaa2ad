#include "engine/ops/activation.h"

#include "engine/base/status_macros.h"
#include "engine/onednn/binary.h"
#include "engine/ops/infer.h"
#include "engine/ops/onednn_step.h"
#include "engine/ops/quantized.h"
#include "engine/ops/table_step.h"
#include "engine/ops/take.h"

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

namespace {

absl::StatusOr<StepMaker> TakeInLibrary(const LowerContext& context) {
  const TensorSpec src = context.Input(0), dst = context.Output();
  RETURN_IF_ERROR(CheckOneLayout(src, dst));
  if (src.quant || dst.quant || !context.node.post_ops.empty())
    return absl::UnimplementedError("INT8 and fused operations are not this kernel's, expected f32 and none");
  ASSIGN_OR_RETURN(const PostOp own, FindOp(context.node.op)->as_post_op(context.node));
  // A row in memory order: the library knows no scalars.
  return TakePrimitive(FindEltwise(own, {DType::kF32, {src.count()}, Layout(), std::nullopt}), {});
}

absl::StatusOr<StepMaker> TakeInTable(const LowerContext& context) {
  std::vector<PostOp> functions = context.node.post_ops;
  for (const PostOp& function : functions)
    if (function.kind == PostOp::Kind::kAdd)
      return absl::UnimplementedError("an activation with a residual has no kernel, expected none");
  ASSIGN_OR_RETURN(const PostOp own, FindOp(context.node.op)->as_post_op(context.node));
  functions.insert(functions.begin(), own);
  return TakeTable(context, [functions = std::move(functions)](float x) {
    for (const PostOp& function : functions) x = ApplyPostOp(function, x, 0.0f);
    return x;
  });
}

}  // namespace

std::vector<Offer> ActivationOffers() {
  return {{.name = "onednn", .take = TakeInLibrary}, {.name = "hachi_table", .take = TakeInTable}};
}

}  // namespace hachi
