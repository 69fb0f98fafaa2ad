#include "engine/ops/pooling.h"

#include "absl/strings/str_cat.h"
#include "engine/base/status_macros.h"
#include "engine/ops/infer.h"
#include "engine/ops/onednn_step.h"
#include "engine/ops/take.h"

namespace hachi {

absl::StatusOr<SymbolicShape> InferPooledDims(const Node& node) {
  RETURN_IF_ERROR(CheckInputCount(node, 1, 1));
  RETURN_IF_ERROR(CheckInputType(node, 0, {DType::kF32, DType::kU8, DType::kS8}));
  RETURN_IF_ERROR(CheckRank(node, 0, 3, 5));
  const SymbolicShape& input = *node.inputs[0]->dims;
  ASSIGN_OR_RETURN(const Window window, Window::Read(node, input.size() - 2, {}));
  ASSIGN_OR_RETURN(SymbolicShape dims, window.OutputDims(std::span<const Dim>(input).subspan(2)));
  dims.insert(dims.begin(), {input[0], input[1]});
  return dims;
}

absl::StatusOr<Window> PoolingWindow(const Node& node, std::span<const int64_t> input,
                                     std::span<const int64_t> output) {
  ASSIGN_OR_RETURN(const Window window, Window::Read(node, input.size() - 2, {}));
  return window.For(input.subspan(2), output.subspan(2));
}

absl::StatusOr<StepMaker> TakePooling(const LowerContext& context, PoolingSpec::Kind kind) {
  RETURN_IF_ERROR(CheckNothingFused(context.node));
  PoolingSpec spec{kind, context.Input(0), context.Output()};
  ASSIGN_OR_RETURN(const Window window, PoolingWindow(context.node, spec.src.shape, spec.dst.shape));
  spec.kernel = window.kernel;
  spec.strides = window.strides;
  spec.dilations = window.dilations;
  spec.pads_begin = window.pads_begin;
  spec.pads_end = window.pads_end;
  return TakePrimitive(FindPooling(spec), {});
}

}  // namespace hachi
