#include "engine/ops/product.h"

#include "absl/strings/str_cat.h"
#include "engine/base/status_macros.h"
#include "engine/onednn/matmul.h"
#include "engine/ops/infer.h"
#include "engine/ops/onednn_step.h"
#include "engine/ops/quantized.h"

namespace hachi {

absl::Status InferProduct(Node& node, SymbolicShape dims) {
  RETURN_IF_ERROR(CheckOperand(node, 0));
  RETURN_IF_ERROR(CheckOperand(node, 1));
  if (const Value* residual = node.input(3); residual != nullptr && residual->dims != dims)
    return absl::InvalidArgumentError(absl::StrCat("residual '", residual->name, "' has shape ",
                                                   ShapeText(*residual->dims), ", expected ",
                                                   ShapeText(dims)));
  return SetOutput(node, ProductType(node), std::move(dims));
}

double Dot(const Lane& a, const Lane& b, int64_t depth, int64_t channel) {
  const size_t index = b.quant && !b.quant->per_tensor() ? static_cast<size_t>(channel) : 0;
  const int64_t a_zero = a.quant ? a.quant->zero_point() : 0;
  const int64_t b_zero = b.quant ? b.quant->zero_points[index] : 0;
  const double scale = static_cast<double>(a.quant ? a.quant->scale() : 1.0f) *
                       static_cast<double>(b.quant ? b.quant->scales[index] : 1.0f);
  double real_sum = 0;
  int64_t integer_sum = 0;
  for (int64_t k = 0; k < depth; ++k) {
    const int64_t i = a.begin + k * a.step, j = b.begin + k * b.step;
    if (a.quant && b.quant) {
      integer_sum += (IntegerAt(a.view, i) - a_zero) * (IntegerAt(b.view, j) - b_zero);
    } else {
      const auto x = static_cast<double>(RealAt(a.view, i, std::nullopt)) - static_cast<double>(a_zero);
      const auto y = static_cast<double>(RealAt(b.view, j, std::nullopt)) - static_cast<double>(b_zero);
      real_sum += x * y;
    }
  }
  return (real_sum + static_cast<double>(integer_sum)) * scale;
}

absl::StatusOr<StepMaker> TakeProduct(const LowerContext& context, const ProductForm& form) {
  const Node& node = context.node;
  MatMulSpec spec{.src = context.Input(0), .dst = context.Output()};
  if (!spec.dst.layout.SameBytes(Layout(), spec.dst.shape))
    return absl::UnimplementedError("result has a layout of its own, expected row-major");
  spec.src.shape = form.src_shape;
  spec.src.layout = form.src_layout;
  spec.dst.shape = form.dst_shape;
  spec.dst.layout = Layout();
  spec.weights = node.inputs[1]->constant;
  spec.transposed = form.transposed_weights;
  spec.weight_quant = node.inputs[1]->quant;
  const int column_axis = form.transposed_weights ? 0 : 1;
  if (spec.weight_quant && !spec.weight_quant->per_tensor() && spec.weight_quant->axis != column_axis)
    return absl::UnimplementedError(absl::StrCat("weights are quantized along axis ", spec.weight_quant->axis,
                                                 ", expected axis ", column_axis));
  spec.bias = form.bias;
  spec.post_ops = node.post_ops;
  OnednnStep::Operands operands;
  operands.residual = ResidualOf(node.post_ops);
  if (operands.residual >= 0) {
    TensorSpec residual = context.Input(static_cast<size_t>(operands.residual));
    if (!residual.layout.SameBytes(Layout(), residual.shape))
      return absl::UnimplementedError("residual has a layout of its own, expected row-major");
    residual.shape = form.dst_shape;
    residual.layout = Layout();
    spec.residual = std::move(residual);
  }
  return TakePrimitive(FindMatMul(spec, context.weights), operands);
}

absl::StatusOr<std::shared_ptr<const Tensor>> ColumnBias(const Value& value, int64_t columns, float factor) {
  const int64_t count = value.is_constant() ? value.constant->count() : 0;
  const bool fits = count == 1 || (count == columns && value.constant->shape().back() == columns);
  if (!fits)
    return absl::UnimplementedError(absl::StrCat("bias '", value.name, "' is computed or has ", count,
                                                 " elements, expected a constant of ", columns));
  const auto from = value.constant->As<float>();
  Tensor bias(DType::kF32, {columns});
  for (int64_t column = 0; column < columns; ++column)
    bias.As<float>()[column] = factor * from[count == 1 ? 0 : column];
  return std::make_shared<const Tensor>(std::move(bias));
}

}  // namespace hachi
