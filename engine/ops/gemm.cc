// Gemm (ONNX opset 13): alpha * A' * B' + beta * C, with an optional residual as input 3 and post-ops fused.
#include "absl/strings/str_cat.h"
#include "engine/base/status_macros.h"
#include "engine/onednn/matmul.h"
#include "engine/ops/infer.h"
#include "engine/ops/onednn_step.h"
#include "engine/ops/product.h"
#include "engine/ops/quantized.h"

namespace hachi {
namespace {

struct Attributes {
  float alpha, beta;
  bool trans_a, trans_b;

  static absl::StatusOr<Attributes> Read(const Node& node) {
    ASSIGN_OR_RETURN(const float alpha, node.Float("alpha", 1.0f));
    ASSIGN_OR_RETURN(const float beta, node.Float("beta", 1.0f));
    ASSIGN_OR_RETURN(const int64_t trans_a, node.Int("transA", 0));
    ASSIGN_OR_RETURN(const int64_t trans_b, node.Int("transB", 0));
    return Attributes{alpha, beta, trans_a != 0, trans_b != 0};
  }
};

absl::Status Infer(Node& node) {
  RETURN_IF_ERROR(CheckInputCount(node, 2, 4));
  RETURN_IF_ERROR(CheckRank(node, 0, 2, 2));
  RETURN_IF_ERROR(CheckRank(node, 1, 2, 2));
  ASSIGN_OR_RETURN(const Attributes attributes, Attributes::Read(node));
  const SymbolicShape& a = *node.inputs[0]->dims;
  const SymbolicShape& b = *node.inputs[1]->dims;
  const Dim &depth = a[attributes.trans_a ? 0 : 1], &b_depth = b[attributes.trans_b ? 1 : 0];
  if (depth != b_depth)
    return absl::InvalidArgumentError(absl::StrCat("matrices have depths ", depth.ToText(), " and ",
                                                   b_depth.ToText(), ", expected one depth"));
  SymbolicShape dims{a[attributes.trans_a ? 1 : 0], b[attributes.trans_b ? 0 : 1]};
  if (const Value* bias = node.input(2); bias != nullptr) {
    RETURN_IF_ERROR(CheckInputType(node, 2, {DType::kF32}));
    const auto broadcast = BroadcastDims(dims, *bias->dims);
    if (!broadcast.ok() || *broadcast != dims)
      return absl::InvalidArgumentError(absl::StrCat("C has shape ", ShapeText(*bias->dims),
                                                     ", expected one that broadcasts to ", ShapeText(dims)));
  }
  return InferProduct(node, std::move(dims));
}

absl::Status Reference(const Node& node, std::span<const TensorView> inputs, std::span<Tensor> outputs) {
  ASSIGN_OR_RETURN(const Attributes attributes, Attributes::Read(node));
  const TensorView &a = inputs[0], &b = inputs[1];
  const int64_t rows = outputs[0].shape()[0], columns = outputs[0].shape()[1];
  const int64_t depth = a.shape[attributes.trans_a ? 0 : 1];
  const bool has_c = node.input(2) != nullptr;
  // C's axes of one element, or that it lacks, are stepped over.
  int64_t c_row = 0, c_column = 0;
  if (has_c) {
    const auto shape = inputs[2].shape;
    if (!shape.empty() && shape.back() != 1) c_column = 1;
    if (shape.size() == 2 && shape[0] != 1) c_row = shape[1];
  }
  for (int64_t row = 0; row < rows; ++row)
    for (int64_t column = 0; column < columns; ++column) {
      const Lane left{a, node.inputs[0]->quant, attributes.trans_a ? row : row * depth,
                      attributes.trans_a ? rows : 1};
      const Lane right{b, node.inputs[1]->quant, attributes.trans_b ? column * depth : column,
                       attributes.trans_b ? 1 : columns};
      double sum = static_cast<double>(attributes.alpha) * Dot(left, right, depth, column);
      if (has_c)
        sum += static_cast<double>(attributes.beta) *
               static_cast<double>(inputs[2].As<float>()[row * c_row + column * c_column]);
      const int64_t at = row * columns + column;
      StoreReal(outputs[0], at, ApplyPostOps(node, inputs, at, static_cast<float>(sum)),
                node.outputs[0]->quant);
    }
  return absl::OkStatus();
}

absl::StatusOr<StepMaker> Take(const LowerContext& context) {
  const Node& node = context.node;
  ASSIGN_OR_RETURN(const Attributes attributes, Attributes::Read(node));
  if (attributes.alpha != 1.0f)
    return absl::UnimplementedError(absl::StrCat("alpha is ", attributes.alpha, ", expected 1"));
  if (!node.inputs[1]->is_constant()) return absl::UnimplementedError("B is computed, expected a constant");
  ProductForm form{.dst_shape = context.Output().shape, .transposed_weights = attributes.trans_b};
  form.src_shape = context.Input(0).shape;
  if (attributes.trans_a) {
    std::swap(form.src_shape[0], form.src_shape[1]);
    form.src_layout = Layout::FromOrder({1, 0});
  }
  if (node.input(2) != nullptr) {
    ASSIGN_OR_RETURN(form.bias, ColumnBias(*node.inputs[2], form.dst_shape[1], attributes.beta));
  }
  return TakeProduct(context, form);
}

int64_t Macs(const LowerContext& context) {
  const Attributes attributes = Attributes::Read(context.node).value();
  return context.Output().count() * context.Input(0).shape[attributes.trans_a ? 0 : 1];
}

absl::StatusOr<RowAxis> RowsOfGemm(const RowQuery& query) {
  ASSIGN_OR_RETURN(const Attributes attributes, Attributes::Read(query.node));
  const RowAxis a = query.inputs[0], b = query.inputs[1];
  const size_t a_depth = attributes.trans_a ? 0 : 1, b_depth = attributes.trans_b ? 1 : 0;
  if (a == a_depth) return MixesRows(a_depth);
  if (b == b_depth) return MixesRows(b_depth);
  std::vector<RowAxis> found;
  if (a) found.emplace_back(0);
  if (b) found.emplace_back(1);
  for (size_t i = 2; i < query.inputs.size(); ++i)
    if (query.inputs[i]) found.emplace_back(*query.inputs[i] + 2 - query.node.inputs[i]->rank());
  return OneRowAxis(found);
}

size_t ChannelAxis(const Node& node) {
  const auto transposed = node.Int("transB", 0);
  return transposed.ok() && *transposed != 0 ? 0 : 1;
}

}  // namespace

std::span<const OpDef> gemm_ops() {
  static const OpDef defs[] = {{.name = "Gemm",
                                .infer = Infer,
                                .quantize = QuantRule::kWeighted,
                                .channel_axis = ChannelAxis,
                                .has_integer_kernels = [](const Node&) { return true; },
                                .rows = RowsOfGemm,
                                .reference = Reference,
                                .offers = {{.name = "onednn", .take = Take}},
                                .fuses_post_ops = true,
                                .residual_input = 3,
                                .macs = Macs}};
  return defs;
}

}  // namespace hachi
