// Not (ONNX opset 1).
#include "engine/base/status_macros.h"
#include "engine/cpu/team.h"
#include "engine/ops/infer.h"
#include "engine/ops/op.h"
#include "engine/ops/take.h"

namespace hachi {
namespace {

absl::Status Infer(Node& node) {
  RETURN_IF_ERROR(CheckInputCount(node, 1, 1));
  RETURN_IF_ERROR(CheckInputType(node, 0, {DType::kBool}));
  return SetOutput(node, DType::kBool, *node.inputs[0]->dims);
}

absl::Status Reference(const Node& /*node*/, std::span<const TensorView> inputs, std::span<Tensor> outputs) {
  for (int64_t i = 0; i < outputs[0].count(); ++i) outputs[0].As<bool>()[i] = !inputs[0].As<bool>()[i];
  return absl::OkStatus();
}

class NotStep final : public KernelStep {
 public:
  explicit NotStep(int64_t count) : count_(count) {}

 protected:
  absl::Status Run(const StepBuffers& buffers) const override {
    ParallelFor(count_, kGrain, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) buffers.outputs[0][i] = buffers.inputs[0][i] ^ std::byte{1};
    });
    return absl::OkStatus();
  }

 private:
  static constexpr int64_t kGrain = 16384;  // elements worth waking the team for: some µs

  const int64_t count_;
};

absl::StatusOr<StepMaker> Take(const LowerContext& context) {
  const TensorSpec src = context.Input(0), dst = context.Output();
  RETURN_IF_ERROR(CheckOneLayout(src, dst));
  return [count = src.count()] { return std::make_unique<NotStep>(count); };
}

}  // namespace

std::span<const OpDef> not_ops() {
  static const OpDef defs[] = {{.name = "Not",
                                .infer = Infer,
                                .rows = RowsOfElements,
                                .reference = Reference,
                                .offers = {{.name = "hachi_not", .take = Take}},
                                .layout_agnostic = true}};
  return defs;
}

}  // namespace hachi
