// Expand (ONNX opset 13): input 0 broadcast together with the shape in input 1.
#include "absl/strings/str_cat.h"
#include "engine/base/status_macros.h"
#include "engine/ops/copy.h"
#include "engine/ops/infer.h"

namespace hachi {
namespace {

absl::Status Infer(Node& node) {
  RETURN_IF_ERROR(CheckInputCount(node, 2, 2));
  RETURN_IF_ERROR(CheckInputType(node, 1, {DType::kS64}));
  const auto shape = ContentOf(*node.inputs[1]);
  if (!shape)
    return absl::UnimplementedError(
        absl::StrCat("the shape '", node.inputs[1]->name,
                     "' is computed from more than dimensions, expected one that is known"));
  for (const Dim& dim : *shape)
    if (const auto number = dim.constant(); number && *number < 0)
      return absl::InvalidArgumentError(
          absl::StrCat("the shape is ", ShapeText(*shape), ", expected no negative dimension"));
  ASSIGN_OR_RETURN(SymbolicShape dims, BroadcastDims(*node.inputs[0]->dims, *shape));
  return SetOutputLike(node, std::move(dims));
}

absl::Status Reference(const Node& /*node*/, std::span<const TensorView> inputs, std::span<Tensor> outputs) {
  const Shape& shape = outputs[0].shape();
  AxisNumbers strides(shape.size() - inputs[0].shape.size(), 0);
  for (size_t axis = 0; axis < inputs[0].shape.size(); ++axis)
    strides.push_back(inputs[0].shape[axis] == 1 ? 0 : CountOf(inputs[0].shape.subspan(axis + 1)));
  CopyStrided(inputs[0], 0, strides, outputs[0]);
  return absl::OkStatus();
}

absl::StatusOr<StepMaker> Take(const LowerContext& context) {
  const TensorSpec src = context.Input(0), dst = context.Output();
  std::vector<int64_t> strides = src.layout.StridesOf(src.shape);
  for (size_t axis = 0; axis < strides.size(); ++axis)
    if (src.shape[axis] == 1) strides[axis] = 0;
  strides.insert(strides.begin(), dst.shape.size() - strides.size(), 0);
  return TakeBoxes(
      {{0, 0, StridedCopy(dst.shape, 0, strides, 0, dst.layout.StridesOf(dst.shape), SizeOf(src.dtype))}});
}

}  // namespace

std::span<const OpDef> expand_ops() {
  static const OpDef defs[] = {{.name = "Expand",
                                .infer = Infer,
                                .quantize = QuantRule::kKeepScale,
                                .rows = RowsOfRepeated,
                                .shape_input = 1,
                                .reference = Reference,
                                .offers = {{.name = "hachi_copy", .take = Take}},
                                .layout_agnostic = true}};
  return defs;
}

}  // namespace hachi
