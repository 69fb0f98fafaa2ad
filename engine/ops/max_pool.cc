// MaxPool (ONNX opset 12), without the indices.
#include <algorithm>
#include <limits>

#include "absl/strings/str_cat.h"
#include "engine/base/status_macros.h"
#include "engine/ops/infer.h"
#include "engine/ops/pooling.h"
#include "engine/ops/quantized.h"

namespace hachi {
namespace {

absl::Status Infer(Node& node) {
  if (node.outputs.size() > 1)
    return absl::UnimplementedError("output 1 (indices) is asked for, expected only the maxima");
  ASSIGN_OR_RETURN(SymbolicShape dims, InferPooledDims(node));
  return SetOutputLike(node, std::move(dims));
}

absl::Status Reference(const Node& node, std::span<const TensorView> inputs, std::span<Tensor> outputs) {
  const TensorView& x = inputs[0];
  const Shape& shape = outputs[0].shape();
  ASSIGN_OR_RETURN(const Window window, PoolingWindow(node, x.shape, shape));
  ForEachWindow(window, window, x.shape, shape, [&](int64_t i, const Taps& taps) {
    // Order is that of the stored integers: the scale is positive.
    float largest = -std::numeric_limits<float>::infinity();
    for (const int64_t tap : taps.inside) largest = std::max(largest, RealAt(x, tap, std::nullopt));
    StoreReal(outputs[0], i, largest, std::nullopt);
  });
  return absl::OkStatus();
}

}  // namespace

std::span<const OpDef> max_pool_ops() {
  static const OpDef defs[] = {{.name = "MaxPool",
                                .infer = Infer,
                                .quantize = QuantRule::kKeepScale,
                                .rows = RowsOfBatchAxis,
                                .reference = Reference,
                                .offers = {{.name = "onednn",
                                            .take =
                                                [](const LowerContext& context) {
                                                  return TakePooling(context, PoolingSpec::Kind::kMax);
                                                }}},
                                .channels_last = true}};
  return defs;
}

}  // namespace hachi
