// LayerNormalization (ONNX opset 17) of real numbers; mean and deviation are no outputs.
#include <cmath>

#include "absl/strings/str_cat.h"
#include "engine/base/status_macros.h"
#include "engine/kernels/layer_norm.h"
#include "engine/ops/broadcast.h"
#include "engine/ops/infer.h"
#include "engine/ops/op.h"
#include "engine/ops/quantized.h"
#include "engine/ops/take.h"

namespace hachi {
namespace {

absl::StatusOr<size_t> AxisOf(const Node& node) {
  ASSIGN_OR_RETURN(const int64_t axis, node.Int("axis", -1));
  return CheckAxis(axis, node.inputs[0]->rank());
}

absl::Status Infer(Node& node) {
  RETURN_IF_ERROR(CheckInputCount(node, 2, 3));
  RETURN_IF_ERROR(CheckReal(node, 0));
  ASSIGN_OR_RETURN(const size_t axis, AxisOf(node));
  ASSIGN_OR_RETURN(const float epsilon, node.Float("epsilon", 1e-5f));
  if (!(epsilon >= 0))
    return absl::InvalidArgumentError(absl::StrCat("epsilon is ", epsilon, ", expected 0 or more"));
  const SymbolicShape& dims = *node.inputs[0]->dims;
  const SymbolicShape row(dims.begin() + static_cast<std::ptrdiff_t>(axis), dims.end());
  for (size_t i = 1; i < node.inputs.size(); ++i) {
    if (node.inputs[i] == nullptr) continue;
    RETURN_IF_ERROR(CheckInputType(node, i, {DType::kF32}));
    const auto broadcast = BroadcastDims(row, *node.inputs[i]->dims);
    if (!broadcast.ok() || *broadcast != row)
      return absl::InvalidArgumentError(absl::StrCat("input ", i, " has shape ",
                                                     ShapeText(*node.inputs[i]->dims),
                                                     ", expected one that broadcasts to ", ShapeText(row)));
  }
  return SetOutput(node, RealType(*node.outputs[0]), dims);
}

absl::Status Reference(const Node& node, std::span<const TensorView> inputs, std::span<Tensor> outputs) {
  ASSIGN_OR_RETURN(const size_t axis, AxisOf(node));
  ASSIGN_OR_RETURN(const float epsilon, node.Float("epsilon", 1e-5f));
  const auto row = inputs[0].shape.subspan(axis);
  const int64_t length = CountOf(row);
  const auto parameter = [&](size_t input, int64_t i, double otherwise) {
    if (node.input(input) == nullptr) return otherwise;
    return static_cast<double>(inputs[input].As<float>()[BroadcastIndex(i, row, inputs[input].shape)]);
  };
  for (int64_t begin = 0; begin < outputs[0].count(); begin += length) {
    const auto x = [&](int64_t i) {
      return static_cast<double>(RealAt(inputs[0], begin + i, node.inputs[0]->quant));
    };
    double sum = 0, squares = 0;
    for (int64_t i = 0; i < length; ++i) sum += x(i);
    const double mean = sum / static_cast<double>(length);
    for (int64_t i = 0; i < length; ++i) squares += (x(i) - mean) * (x(i) - mean);
    const double deviation = std::sqrt(squares / static_cast<double>(length) + static_cast<double>(epsilon));
    for (int64_t i = 0; i < length; ++i) {
      const double y = (x(i) - mean) / deviation * parameter(1, i, 1.0) + parameter(2, i, 0.0);
      StoreReal(outputs[0], begin + i, ApplyPostOps(node, inputs, begin + i, static_cast<float>(y)),
                node.outputs[0]->quant);
    }
  }
  return absl::OkStatus();
}

class LayerNormStep final : public KernelStep {
 public:
  LayerNormStep(const LayerNormSpec& spec, int64_t rows) : normalize_(spec), rows_(rows) {}

  bool Reads(size_t input) const override { return input == 0; }

 protected:
  absl::Status Run(const StepBuffers& buffers) const override {
    normalize_.Run(buffers.inputs[0], rows_, buffers.outputs[0]);
    return absl::OkStatus();
  }

 private:
  const LayerNorm normalize_;
  const int64_t rows_;
};

// A constant that broadcasts to a row, written out.
absl::StatusOr<std::vector<float>> RowOf(const Value* value, std::span<const int64_t> row, float otherwise) {
  std::vector<float> elements(static_cast<size_t>(CountOf(row)), otherwise);
  if (value == nullptr) return elements;
  if (!value->is_constant())
    return absl::UnimplementedError(absl::StrCat("'", value->name, "' is computed, expected a constant"));
  for (size_t i = 0; i < elements.size(); ++i)
    elements[i] =
        value->constant->As<float>()[BroadcastIndex(static_cast<int64_t>(i), row, value->constant->shape())];
  return elements;
}

absl::StatusOr<StepMaker> Take(const LowerContext& context) {
  const Node& node = context.node;
  const TensorSpec src = context.Input(0), dst = context.Output();
  for (const Value* value : {node.inputs[0], node.outputs[0]}) RETURN_IF_ERROR(CheckRowMajor(context, value));
  RETURN_IF_ERROR(CheckNothingFused(node));
  ASSIGN_OR_RETURN(const size_t axis, AxisOf(node));
  const std::span row = std::span(src.shape).subspan(axis);
  if (src.count() == 0) return absl::UnimplementedError("input is empty, expected elements");
  LayerNormSpec spec{.row_length = CountOf(row), .from = src.dtype, .to = dst.dtype};
  ASSIGN_OR_RETURN(spec.epsilon, node.Float("epsilon", 1e-5f));
  ASSIGN_OR_RETURN(spec.scale, RowOf(node.inputs[1], row, 1.0f));
  ASSIGN_OR_RETURN(spec.bias, RowOf(node.input(2), row, 0.0f));
  if (src.quant) spec.from_quant = *src.quant;
  if (dst.quant) spec.to_quant = *dst.quant;
  return [spec = std::move(spec), rows = src.count() / CountOf(row)] {
    return std::make_unique<LayerNormStep>(spec, rows);
  };
}

absl::StatusOr<RowAxis> RowsOfLayerNormalization(const RowQuery& query) {
  RETURN_IF_ERROR(OnlyFirstHoldsRows(query));
  ASSIGN_OR_RETURN(const size_t axis, AxisOf(query.node));
  const RowAxis found = query.inputs[0];
  return found && *found >= axis ? MixesRows(*found) : absl::StatusOr<RowAxis>(found);
}

}  // namespace

std::span<const OpDef> layer_normalization_ops() {
  static const OpDef defs[] = {{.name = "LayerNormalization",
                                .infer = Infer,
                                .quantizes_output = true,
                                .rows = RowsOfLayerNormalization,
                                .reference = Reference,
                                .offers = {{.name = "hachi_layer_norm", .take = Take}}}};
  return defs;
}

}  // namespace hachi
