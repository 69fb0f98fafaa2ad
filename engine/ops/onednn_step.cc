#include "engine/ops/onednn_step.h"

#include "engine/base/status_macros.h"

namespace hachi {
namespace {

struct State : StepState {
  explicit State(std::unique_ptr<BoundPrimitive> b) : bound(std::move(b)) {}
  std::unique_ptr<BoundPrimitive> bound;
};

}  // namespace

OnednnStep::OnednnStep(std::unique_ptr<Primitive> primitive, Operands operands)
    : Step({.kernel = primitive->kernel(),
            .why_reference = primitive->kernel().reference ? "the library has no other kernel" : "",
            .scratch_bytes = primitive->scratch_bytes(),
            .in_place_input = operands.residual}),
      primitive_(std::move(primitive)),
      operands_(operands) {}

bool OnednnStep::Reads(size_t input) const {
  const int i = static_cast<int>(input);
  return i == operands_.src || i == operands_.src1 || i == operands_.residual;
}

std::unique_ptr<StepState> OnednnStep::Bind(StepBuffers buffers) const {
  return std::make_unique<State>(
      primitive_->Bind({.src = buffers.inputs[operands_.src],
                        .src1 = operands_.src1 < 0 ? nullptr : buffers.inputs[operands_.src1],
                        .dst = buffers.outputs[0],
                        .scratch = buffers.scratch}));
}

absl::Status OnednnStep::Run(StepState& state, Stream& stream) const {
  return static_cast<State&>(state).bound->Execute(stream);
}

absl::StatusOr<StepMaker> TakePrimitive(absl::StatusOr<PrimitiveMaker> maker, OnednnStep::Operands operands) {
  RETURN_IF_ERROR(maker.status());
  return [maker = *std::move(maker), operands]() mutable -> absl::StatusOr<std::unique_ptr<Step>> {
    ASSIGN_OR_RETURN(auto primitive, maker());
    return std::make_unique<OnednnStep>(std::move(primitive), operands);
  };
}

}  // namespace hachi
