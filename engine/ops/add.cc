// Add (ONNX opset 14), with post-ops fused.
#include "engine/base/status_macros.h"
#include "engine/ops/broadcast.h"
#include "engine/ops/infer.h"

namespace hachi {
namespace {

absl::Status Infer(Node& node) {
  RETURN_IF_ERROR(CheckInputCount(node, 2, 2));
  RETURN_IF_ERROR(InferBroadcast(node));
  std::optional<SymbolicShape> content;
  if (const auto pairs = PairContents(node)) {
    content.emplace();
    for (size_t i = 0; i < pairs->a.size(); ++i) content->push_back(pairs->a[i] + pairs->b[i]);
  }
  node.outputs[0]->content = std::move(content);
  return absl::OkStatus();
}

absl::Status Reference(const Node& node, std::span<const TensorView> inputs, std::span<Tensor> outputs) {
  return ReferenceBroadcast(
      node, inputs, outputs,
      {.real = [](double a, double b) { return a + b; },
       .integer =
           [](int64_t a, int64_t b) {
             return static_cast<int64_t>(static_cast<uint64_t>(a) + static_cast<uint64_t>(b));
           }});
}

absl::StatusOr<std::unique_ptr<Step>> Lower(const LowerContext& context) {
  return LowerBinary(context, BinarySpec::Kind::kAdd);
}

}  // namespace

const OpDef& add_op() {
  static const OpDef def = {.name = "Add",
                            .infer = Infer,
                            .quantize = QuantRule::kRescale,
                            .reference = Reference,
                            .lower = Lower,
                            .layout_agnostic = true};
  return def;
}

}  // namespace hachi
