#pragma once

#include <memory>
#include <vector>

#include "engine/onednn/primitive.h"
#include "engine/ops/op.h"

namespace hachi {

// A step that is one oneDNN primitive.
class OnednnStep final : public Step {
 public:
  struct Operands {
    int src = 0;        // the node's input that is the primitive's src
    int src1 = -1;      // and its second operand; -1: none
    int residual = -1;  // and what lies in dst before the run; -1: none
  };

  OnednnStep(std::unique_ptr<Primitive> primitive, Operands operands);

  bool Reads(size_t input) const override;
  std::unique_ptr<StepState> Bind(StepBuffers buffers) const override;
  absl::Status Run(StepState& state, Stream& stream) const override;

 private:
  const std::unique_ptr<Primitive> primitive_;
  const Operands operands_;
};

// What the library answered, as what an offer answers.
absl::StatusOr<StepMaker> TakePrimitive(absl::StatusOr<PrimitiveMaker> maker, OnednnStep::Operands operands);

}  // namespace hachi
