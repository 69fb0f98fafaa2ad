// Shape (ONNX opset 15), the dimensions from `start` to before `end`, and Size, their product.
#include <algorithm>

#include "engine/base/status_macros.h"
#include "engine/ops/infer.h"
#include "engine/ops/op.h"

namespace hachi {
namespace {

struct Span {
  size_t begin, end;
};

absl::StatusOr<Span> SpanOf(const Node& node, size_t rank) {
  const auto signed_rank = static_cast<int64_t>(rank);
  ASSIGN_OR_RETURN(int64_t begin, node.Int("start", 0));
  ASSIGN_OR_RETURN(int64_t end, node.Int("end", signed_rank));
  begin = std::clamp<int64_t>(begin < 0 ? begin + signed_rank : begin, 0, signed_rank);
  end = std::clamp<int64_t>(end < 0 ? end + signed_rank : end, begin, signed_rank);
  return Span{static_cast<size_t>(begin), static_cast<size_t>(end)};
}

absl::Status Infer(Node& node) {
  RETURN_IF_ERROR(CheckInputCount(node, 1, 1));
  const SymbolicShape& dims = *node.inputs[0]->dims;
  ASSIGN_OR_RETURN(const Span span, SpanOf(node, dims.size()));
  RETURN_IF_ERROR(SetOutput(node, DType::kS64, {Dim(static_cast<int64_t>(span.end - span.begin))}));
  const auto first = dims.begin();
  node.outputs[0]->content.emplace(first + static_cast<std::ptrdiff_t>(span.begin),
                                   first + static_cast<std::ptrdiff_t>(span.end));
  return absl::OkStatus();
}

absl::Status Reference(const Node& node, std::span<const TensorView> inputs, std::span<Tensor> outputs) {
  ASSIGN_OR_RETURN(const Span span, SpanOf(node, inputs[0].shape.size()));
  std::copy_n(inputs[0].shape.begin() + static_cast<std::ptrdiff_t>(span.begin), span.end - span.begin,
              outputs[0].As<int64_t>().begin());
  return absl::OkStatus();
}

absl::Status InferSize(Node& node) {
  RETURN_IF_ERROR(CheckInputCount(node, 1, 1));
  RETURN_IF_ERROR(SetOutput(node, DType::kS64, {}));
  node.outputs[0]->content = SymbolicShape{CountOf(*node.inputs[0]->dims)};
  return absl::OkStatus();
}

absl::Status ReferenceSize(const Node& /*node*/, std::span<const TensorView> inputs,
                           std::span<Tensor> outputs) {
  outputs[0].As<int64_t>()[0] = inputs[0].count();
  return absl::OkStatus();
}

}  // namespace

std::span<const OpDef> shape_ops() {
  static const OpDef defs[] = {{.name = "Shape",
                                .infer = Infer,
                                .reads_elements = false,
                                .reference = Reference,
                                .layout_agnostic = true},
                               {.name = "Size",
                                .infer = InferSize,
                                .reads_elements = false,
                                .reference = ReferenceSize,
                                .layout_agnostic = true}};
  return defs;
}

}  // namespace hachi
