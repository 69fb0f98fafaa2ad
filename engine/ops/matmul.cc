// MatMul (ONNX opset 13) as NumPy's, with an optional bias [N] as input 2 and residual as input 3, and
// post-ops fused.
#include "engine/onednn/matmul.h"

#include "absl/strings/str_cat.h"
#include "engine/base/status_macros.h"
#include "engine/ops/infer.h"
#include "engine/ops/onednn_step.h"
#include "engine/ops/product.h"
#include "engine/ops/quantized.h"
#include "engine/ops/take.h"

namespace hachi {
namespace {

// Both operands as stacks of matrices: a vector becomes a row on the left and a column on the right, whose
// axis the result lacks.
template <typename Dims>
struct Stacks {
  Dims a, b;  // leading axes, [.., M, K] and [.., K, N]
  bool a_vector, b_vector;

  Stacks(Dims left, Dims right)
      : a(std::move(left)), b(std::move(right)), a_vector(a.size() == 1), b_vector(b.size() == 1) {
    if (a_vector) a.insert(a.begin(), 1);
    if (b_vector) b.push_back(1);
  }
};

absl::Status Infer(Node& node) {
  RETURN_IF_ERROR(CheckInputCount(node, 2, 4));
  RETURN_IF_ERROR(CheckRank(node, 0, 1, 12));
  RETURN_IF_ERROR(CheckRank(node, 1, 1, 12));
  const Stacks<SymbolicShape> stacks(*node.inputs[0]->dims, *node.inputs[1]->dims);
  const SymbolicShape &a = stacks.a, &b = stacks.b;
  if (a.back() != b[b.size() - 2])
    return absl::InvalidArgumentError(absl::StrCat(
        "shapes ", ShapeText(*node.inputs[0]->dims), " and ", ShapeText(*node.inputs[1]->dims),
        " have depths ", a.back().ToText(), " and ", b[b.size() - 2].ToText(), ", expected one depth"));
  ASSIGN_OR_RETURN(SymbolicShape dims, BroadcastDims(SymbolicShape(a.begin(), a.end() - 2),
                                                     SymbolicShape(b.begin(), b.end() - 2)));
  if (!stacks.a_vector) dims.push_back(a[a.size() - 2]);
  if (!stacks.b_vector) dims.push_back(b.back());
  if (const Value* bias = node.input(2); bias != nullptr) {
    RETURN_IF_ERROR(CheckInputType(node, 2, {DType::kF32}));
    if (bias->dims != SymbolicShape{b.back()})
      return absl::InvalidArgumentError(
          absl::StrCat("bias has shape ", ShapeText(*bias->dims), ", expected [", b.back().ToText(), "]"));
  }
  return InferProduct(node, std::move(dims));
}

// Where matrix number `index` of the result's stack lies in an operand's, in elements.
int64_t MatrixOffset(int64_t index, std::span<const int64_t> stack, std::span<const int64_t> operand) {
  int64_t offset = 0, stride = operand[operand.size() - 1] * operand[operand.size() - 2];
  const size_t axes = operand.size() - 2;
  for (size_t i = 0; i < stack.size(); ++i) {
    const int64_t at = index % stack[stack.size() - 1 - i];
    index /= stack[stack.size() - 1 - i];
    if (i >= axes) continue;
    const int64_t size = operand[axes - 1 - i];
    offset += (size == 1 ? 0 : at) * stride;
    stride *= size;
  }
  return offset;
}

absl::Status Reference(const Node& node, std::span<const TensorView> inputs, std::span<Tensor> outputs) {
  const Stacks<AxisNumbers> stacks(AxisNumbers(inputs[0].shape.begin(), inputs[0].shape.end()),
                                   AxisNumbers(inputs[1].shape.begin(), inputs[1].shape.end()));
  const int64_t rows = stacks.a[stacks.a.size() - 2], depth = stacks.a.back(), columns = stacks.b.back();
  const auto stack = std::span(outputs[0].shape()).first(std::max(stacks.a.size(), stacks.b.size()) - 2);
  int64_t at = 0;
  for (int64_t matrix = 0; matrix < CountOf(stack); ++matrix)
    for (int64_t row = 0; row < rows; ++row)
      for (int64_t column = 0; column < columns; ++column, ++at) {
        const Lane left{inputs[0], node.inputs[0]->quant, MatrixOffset(matrix, stack, stacks.a) + row * depth,
                        1};
        const Lane right{inputs[1], node.inputs[1]->quant, MatrixOffset(matrix, stack, stacks.b) + column,
                         columns};
        double sum = Dot(left, right, depth, column);
        if (node.input(2) != nullptr) sum += static_cast<double>(inputs[2].As<float>()[column]);
        StoreReal(outputs[0], at, ApplyPostOps(node, inputs, at, static_cast<float>(sum)),
                  node.outputs[0]->quant);
      }
  return absl::OkStatus();
}

// Both operands are computed, or the right one is a stack.
absl::StatusOr<StepMaker> TakeStacks(const LowerContext& context, const Stacks<Shape>& stacks) {
  const Node& node = context.node;
  if (node.input(2) != nullptr)
    return absl::UnimplementedError("a bias on two computed operands has no kernel, expected none");
  BatchedMatMulSpec spec{context.Input(0), context.Input(1), context.Output(), node.post_ops};
  const size_t rank = std::max(stacks.a.size(), stacks.b.size());
  const auto widen = [&](Shape shape) {
    shape.insert(shape.begin(), rank - shape.size(), 1);
    return shape;
  };
  spec.src.shape = widen(stacks.a);
  spec.src1.shape = widen(stacks.b);
  if (stacks.a_vector) spec.dst.shape.insert(spec.dst.shape.end() - (stacks.b_vector ? 0 : 1), 1);
  if (stacks.b_vector) spec.dst.shape.push_back(1);
  spec.src.layout = spec.src1.layout = spec.dst.layout = Layout();
  return TakePrimitive(FindBatchedMatMul(spec), {.src = 0, .src1 = 1});
}

absl::StatusOr<StepMaker> Take(const LowerContext& context) {
  const Node& node = context.node;
  for (const Value* value : {node.inputs[0], node.inputs[1], node.outputs[0]})
    RETURN_IF_ERROR(CheckRowMajor(context, value));
  const Stacks<Shape> stacks(context.Input(0).shape, context.Input(1).shape);
  if (!node.inputs[1]->is_constant() || node.inputs[1]->rank() != 2) return TakeStacks(context, stacks);
  const int64_t depth = stacks.a.back(), columns = stacks.b.back();
  const int64_t rows = CountOf(std::span(stacks.a).first(stacks.a.size() - 1));
  ProductForm form{.src_shape = {rows, depth}, .dst_shape = {rows, columns}};
  if (node.input(2) != nullptr) {
    ASSIGN_OR_RETURN(form.bias, ColumnBias(*node.inputs[2], columns, 1.0f));
  }
  return TakeProduct(context, form);
}

int64_t Macs(const LowerContext& context) { return context.Output().count() * context.Input(0).shape.back(); }

absl::StatusOr<RowAxis> RowsOfMatMul(const RowQuery& query) {
  const Stacks<SymbolicShape> stacks(*query.node.inputs[0]->dims, *query.node.inputs[1]->dims);
  const size_t rank = query.node.output()->rank(), matrix_axes = 2 - stacks.a_vector - stacks.b_vector;
  std::vector<RowAxis> found;
  if (const RowAxis a = query.inputs[0]) {
    const size_t stack_axes = stacks.a.size() - 2;
    if (stacks.a_vector || *a == stack_axes + 1) return MixesRows(*a);
    found.emplace_back(*a + rank - matrix_axes - stack_axes);
  }
  if (const RowAxis b = query.inputs[1]) {
    const size_t stack_axes = stacks.b.size() - 2;
    if (*b == stack_axes) return MixesRows(*b);
    found.emplace_back(*b > stack_axes ? rank - 1 : *b + rank - matrix_axes - stack_axes);
  }
  for (size_t i = 2; i < query.inputs.size(); ++i)
    if (query.inputs[i]) found.emplace_back(*query.inputs[i] + rank - query.node.inputs[i]->rank());
  return OneRowAxis(found);
}

}  // namespace

std::span<const OpDef> matmul_ops() {
  static const OpDef defs[] = {
      {.name = "MatMul",
       .infer = Infer,
       .quantize = QuantRule::kWeighted,
       .channel_axis = [](const Node&) -> size_t { return 1; },
       .has_integer_kernels = [](const Node& node) { return node.inputs[1]->rank() == 2; },
       .rows = RowsOfMatMul,
       .reference = Reference,
       .offers = {{.name = "onednn", .take = Take}},
       .fuses_post_ops = true,
       .residual_input = 3,
       .macs = Macs}};
  return defs;
}

}  // namespace hachi
