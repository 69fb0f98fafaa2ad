// Concat (ONNX opset 13); integers are brought to the output's scale on the way.
#include <cstring>

#include "absl/strings/str_cat.h"
#include "engine/base/status_macros.h"
#include "engine/ops/copy.h"
#include "engine/ops/infer.h"
#include "engine/ops/quantized.h"
#include "engine/ops/table_step.h"

namespace hachi {
namespace {

absl::StatusOr<size_t> AxisOf(const Node& node) {
  ASSIGN_OR_RETURN(const int64_t axis, node.Int("axis", 0));
  return CheckAxis(axis, node.inputs[0]->rank());
}

absl::Status Infer(Node& node) {
  RETURN_IF_ERROR(CheckInputCount(node, 1, node.inputs.size()));
  for (size_t i = 0; i < node.inputs.size(); ++i)
    if (node.inputs[i] == nullptr)
      return absl::InvalidArgumentError(absl::StrCat("input ", i, " is left out, expected a value"));
  ASSIGN_OR_RETURN(const size_t axis, AxisOf(node));
  SymbolicShape dims = *node.inputs[0]->dims;
  const bool real = IsReal(*node.inputs[0]);
  std::optional<SymbolicShape> content;
  if (dims.size() == 1) content = ContentOf(*node.inputs[0]);
  for (size_t i = 1; i < node.inputs.size(); ++i) {
    const Value& input = *node.inputs[i];
    if (real) {
      RETURN_IF_ERROR(CheckReal(node, i));
    } else {
      RETURN_IF_ERROR(CheckInputType(node, i, {node.inputs[0]->dtype}));
    }
    SymbolicShape expected = dims;
    if (input.rank() == dims.size()) expected[axis] = (*input.dims)[axis];
    if (!std::ranges::equal(*input.dims, expected, MayBeEqual))
      return absl::InvalidArgumentError(absl::StrCat("input ", i, " ('", input.name, "') has shape ",
                                                     ShapeText(*input.dims), ", expected that of input 0, ",
                                                     ShapeText(dims), ", but for axis ", axis));
    dims[axis] = dims[axis] + expected[axis];
    const auto more = ContentOf(input);
    if (content && more) {
      content->insert(content->end(), more->begin(), more->end());
    } else {
      content.reset();
    }
  }
  RETURN_IF_ERROR(
      SetOutput(node, real ? RealType(*node.outputs[0]) : node.inputs[0]->dtype, std::move(dims)));
  node.outputs[0]->content = std::move(content);
  return absl::OkStatus();
}

absl::Status Reference(const Node& node, std::span<const TensorView> inputs, std::span<Tensor> outputs) {
  ASSIGN_OR_RETURN(const size_t axis, AxisOf(node));
  Tensor& y = outputs[0];
  const auto& quant = node.outputs[0]->quant;
  const int64_t inner = CountOf(std::span(y.shape()).subspan(axis + 1)), length = y.shape()[axis];
  const auto bytes = static_cast<int64_t>(SizeOf(y.dtype()));
  int64_t before = 0;  // along the axis
  for (size_t k = 0; k < inputs.size(); ++k) {
    const int64_t own = inputs[k].shape[axis];
    for (int64_t i = 0; i < inputs[k].count(); ++i) {
      const int64_t outer = i / (own * inner), rest = i % (own * inner);
      const int64_t to = (outer * length + before) * inner + rest;
      if (node.inputs[k]->quant == quant && inputs[k].dtype == y.dtype())
        std::memcpy(y.bytes().data() + to * bytes, inputs[k].bytes + i * bytes, static_cast<size_t>(bytes));
      else
        StoreReal(y, to, RealAt(inputs[k], i, node.inputs[k]->quant), quant);
    }
    before += own;
  }
  return absl::OkStatus();
}

absl::StatusOr<StepMaker> Take(const LowerContext& context) {
  const Node& node = context.node;
  ASSIGN_OR_RETURN(const size_t axis, AxisOf(node));
  const TensorSpec dst = context.Output();
  const std::vector<int64_t> out_strides = dst.layout.StridesOf(dst.shape);
  std::vector<BoxCopy> boxes;
  int64_t before = 0;
  for (size_t i = 0; i < node.inputs.size(); ++i) {
    const TensorSpec src = context.Input(i);
    std::optional<std::array<uint8_t, 256>> table;
    if (src.quant != dst.quant || src.dtype != dst.dtype) {
      if (!src.quant || !dst.quant)
        return absl::UnimplementedError("FP32 and INT8 joined have no kernel, expected one of them");
      table = IntegerTable(src, dst, [](float x) { return x; });
    }
    boxes.push_back({i, 0,
                     StridedCopy(src.shape, 0, src.layout.StridesOf(src.shape), before * out_strides[axis],
                                 out_strides, SizeOf(dst.dtype), table)});
    before += src.shape[axis];
  }
  return TakeBoxes(std::move(boxes));
}

absl::StatusOr<RowAxis> RowsOfConcat(const RowQuery& query) {
  ASSIGN_OR_RETURN(const size_t axis, AxisOf(query.node));
  ASSIGN_OR_RETURN(const RowAxis found, OneRowAxis(query.inputs));
  return found == axis ? MixesRows(axis) : absl::StatusOr<RowAxis>(found);
}

}  // namespace

std::span<const OpDef> concat_ops() {
  static const OpDef defs[] = {{.name = "Concat",
                                .infer = Infer,
                                .quantize = QuantRule::kRescale,
                                .rows = RowsOfConcat,
                                .reference = Reference,
                                .offers = {{.name = "hachi_copy", .take = Take}},
                                .layout_agnostic = true}};
  return defs;
}

}  // namespace hachi
