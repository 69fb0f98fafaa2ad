// FusedAttention, one of ours: softmax(q kᵀ × scale + mask) v of each head. q, k and v are [batch, heads,
// positions, features], or [batch, positions, heads, features] where the attribute q_tokens_first,
// k_tokens_first, v_tokens_first or y_tokens_first (of the output) says so; the mask broadcasts to [batch,
// heads, queries, keys], and may be left out.
#include "engine/kernels/attention.h"

#include <cmath>
#include <vector>

#include "absl/strings/str_cat.h"
#include "engine/base/status_macros.h"
#include "engine/ops/function_step.h"
#include "engine/ops/infer.h"
#include "engine/ops/op.h"
#include "engine/ops/quantized.h"
#include "engine/ops/take.h"

namespace hachi {
namespace {

constexpr const char* kTokensFirst[] = {"q_tokens_first", "k_tokens_first", "v_tokens_first",
                                        "y_tokens_first"};

// Which axes of an operand count heads and positions.
struct Axes {
  size_t head, position;
};

absl::StatusOr<Axes> AxesOf(const Node& node, size_t operand) {
  ASSIGN_OR_RETURN(const int64_t tokens_first, node.Int(kTokensFirst[operand], 0));
  return tokens_first != 0 ? Axes{2, 1} : Axes{1, 2};
}

absl::Status Infer(Node& node) {
  RETURN_IF_ERROR(CheckInputCount(node, 3, 4));
  std::vector<Axes> axes;
  for (size_t i = 0; i < 4; ++i) {
    ASSIGN_OR_RETURN(axes.emplace_back(), AxesOf(node, i));
    if (i == 3) break;
    RETURN_IF_ERROR(CheckInputType(node, i, {DType::kF32}));
    RETURN_IF_ERROR(CheckRank(node, i, 4, 4));
  }
  const SymbolicShape &q = *node.inputs[0]->dims, &k = *node.inputs[1]->dims, &v = *node.inputs[2]->dims;
  const Dim &heads = q[axes[0].head], &queries = q[axes[0].position], &keys = k[axes[1].position];
  if (q[3] != k[3] || k[axes[1].head] != heads || v[axes[2].head] != heads || v[axes[2].position] != keys ||
      q[0] != k[0] || q[0] != v[0])
    return absl::InvalidArgumentError(absl::StrCat("queries ", ShapeText(q), ", keys ", ShapeText(k),
                                                   " and values ", ShapeText(v),
                                                   " do not belong together, expected them to"));
  if (const Value* mask = node.input(3); mask != nullptr) {
    RETURN_IF_ERROR(CheckInputType(node, 3, {DType::kF32}));
    const SymbolicShape scores{q[0], heads, queries, keys};
    const auto broadcast = BroadcastDims(*mask->dims, scores);
    if (!broadcast.ok() || *broadcast != scores)
      return absl::InvalidArgumentError(absl::StrCat("mask has shape ", ShapeText(*mask->dims),
                                                     ", expected one that broadcasts to ",
                                                     ShapeText(scores)));
  }
  SymbolicShape dims{q[0], heads, heads, v[3]};
  dims[axes[3].head] = heads;
  dims[axes[3].position] = queries;
  return SetOutput(node, DType::kF32, std::move(dims));
}

HeadStrides StridesOf(std::span<const int64_t> shape, const Axes& axes) {
  const int64_t strides[] = {shape[1] * shape[2] * shape[3], shape[2] * shape[3], shape[3]};
  return {strides[0], strides[axes.head], strides[axes.position]};
}

// Of concrete shapes, row-major: those of the inputs (the mask's empty: none), then of the output.
absl::StatusOr<AttentionSpec> SpecOf(const Node& node, std::span<const Shape> shapes, const Shape& out) {
  AttentionSpec spec;
  HeadStrides* const strides[] = {&spec.q, &spec.k, &spec.v, &spec.out};
  std::vector<Axes> axes;
  for (size_t i = 0; i < 4; ++i) {
    ASSIGN_OR_RETURN(axes.emplace_back(), AxesOf(node, i));
    *strides[i] = StridesOf(i < 3 ? shapes[i] : out, axes[i]);
  }
  spec.batch = shapes[0][0];
  spec.heads = shapes[0][axes[0].head];
  spec.queries = shapes[0][axes[0].position];
  spec.keys = shapes[1][axes[1].position];
  spec.depth = shapes[0][3];
  spec.columns = shapes[2][3];
  ASSIGN_OR_RETURN(spec.scale, node.Float("scale", 1.0f));
  if (node.input(3) == nullptr) return spec;
  Shape mask = shapes[3];
  mask.insert(mask.begin(), 4 - mask.size(), 1);
  if (mask[3] != spec.keys)
    return absl::UnimplementedError(
        absl::StrCat("mask is ", ShapeText(shapes[3]), ", expected one for each of ", spec.keys, " keys"));
  const auto stride = [&](size_t axis, int64_t step) { return mask[axis] == 1 ? 0 : step; };
  spec.mask = {stride(0, mask[1] * mask[2] * mask[3]), stride(1, mask[2] * mask[3]), stride(2, mask[3])};
  return spec;
}

absl::Status Reference(const Node& node, std::span<const TensorView> inputs, std::span<Tensor> outputs) {
  std::vector<Shape> shapes;
  for (const TensorView& input : inputs) shapes.emplace_back(input.shape.begin(), input.shape.end());
  ASSIGN_OR_RETURN(const AttentionSpec s, SpecOf(node, shapes, outputs[0].shape()));
  const auto at = [](const HeadStrides& strides, int64_t b, int64_t h, int64_t position, int64_t feature) {
    return static_cast<size_t>(b * strides.batch + h * strides.head + position * strides.position + feature);
  };
  const auto q = inputs[0].As<float>(), k = inputs[1].As<float>(), v = inputs[2].As<float>();
  std::vector<double> weights(static_cast<size_t>(s.keys));
  for (int64_t b = 0; b < s.batch; ++b)
    for (int64_t h = 0; h < s.heads; ++h)
      for (int64_t i = 0; i < s.queries; ++i) {
        double largest = -INFINITY, sum = 0;
        for (int64_t j = 0; j < s.keys; ++j) {
          double score = 0;
          for (int64_t d = 0; d < s.depth; ++d)
            score +=
                static_cast<double>(q[at(s.q, b, h, i, d)]) * static_cast<double>(k[at(s.k, b, h, j, d)]);
          score *= static_cast<double>(s.scale);
          if (node.input(3) != nullptr)
            score += static_cast<double>(
                inputs[3].As<float>()[b * s.mask.batch + h * s.mask.head + i * s.mask.query + j]);
          weights[static_cast<size_t>(j)] = score;
          largest = std::isnan(score) ? score : std::max(largest, score);
        }
        for (double& weight : weights) sum += weight = std::exp(weight - largest);
        for (int64_t c = 0; c < s.columns; ++c) {
          double y = 0;
          for (int64_t j = 0; j < s.keys; ++j)
            y += weights[static_cast<size_t>(j)] / sum * static_cast<double>(v[at(s.v, b, h, j, c)]);
          outputs[0].As<float>()[at(s.out, b, h, i, c)] = static_cast<float>(y);
        }
      }
  return absl::OkStatus();
}

absl::StatusOr<StepMaker> Take(const LowerContext& context) {
  const Node& node = context.node;
  std::vector<Shape> shapes;
  for (size_t i = 0; node.input(i) != nullptr; ++i) {
    RETURN_IF_ERROR(CheckRowMajor(context, node.inputs[i]));
    shapes.push_back(context.Input(i).shape);
    if (context.Input(i).count() == 0)
      return absl::UnimplementedError("an input is empty, expected elements");
  }
  RETURN_IF_ERROR(CheckRowMajor(context, node.outputs[0]));
  ASSIGN_OR_RETURN(const AttentionSpec spec, SpecOf(node, shapes, context.Output().shape));
  const Attention attention(spec, context.threads);
  return MakeStep(
      [attention, masked = node.input(3) != nullptr](const StepBuffers& buffers) {
        const auto input = [&](size_t i) { return reinterpret_cast<const float*>(buffers.inputs[i]); };
        attention.Run(input(0), input(1), input(2), masked ? input(3) : nullptr,
                      reinterpret_cast<float*>(buffers.outputs[0]), buffers.scratch);
      },
      {.scratch_bytes = attention.scratch_bytes(), .precision = "int8"});
}

absl::StatusOr<RowAxis> Rows(const RowQuery& query) {
  for (size_t i = 0; i < 3; ++i)
    if (query.inputs[i] != RowAxis(0))
      return absl::UnimplementedError("not every operand holds rows in axis 0, expected all to");
  if (query.inputs.size() > 3 && query.inputs[3] && *query.inputs[3] + 4 != query.node.inputs[3]->rank())
    return MixesRows(*query.inputs[3]);
  return RowAxis(0);
}

int64_t Macs(const LowerContext& context) {
  const Shape q = context.Input(0).shape, v = context.Input(2).shape;
  const auto axes = AxesOf(context.node, 2);
  const int64_t keys = v[axes->position];
  return context.Input(0).count() * keys + context.Output().count() * keys;
}

}  // namespace

std::span<const OpDef> attention_ops() {
  static const OpDef defs[] = {
      {.name = "FusedAttention",
       .infer = Infer,
       .rows = Rows,
       .reference = Reference,
       .offers = {{.name = "hachi_attention", .needs = Isa::kAvx512Vnni, .take = Take}},
       .macs = Macs}};
  return defs;
}

}  // namespace hachi
