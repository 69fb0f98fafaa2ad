// HardSigmoid (ONNX opset 6).
#include "engine/base/status_macros.h"
#include "engine/kernels/unary.h"
#include "engine/ops/activation.h"
#include "engine/ops/take.h"

namespace hachi {
namespace {

absl::StatusOr<PostOp> AsPostOp(const Node& node) {
  ASSIGN_OR_RETURN(const float alpha, node.Float("alpha", 0.2f));
  ASSIGN_OR_RETURN(const float beta, node.Float("beta", 0.5f));
  return PostOp{PostOp::Kind::kHardSigmoid, alpha, beta};
}

class HardSigmoidStep final : public KernelStep {
 public:
  HardSigmoidStep(const PostOp& post_op, size_t count)
      : alpha_(post_op.alpha), beta_(post_op.beta), count_(count) {}

 protected:
  absl::Status Run(const StepBuffers& buffers) const override {
    HardSigmoid({reinterpret_cast<const float*>(buffers.inputs[0]), count_}, alpha_, beta_,
                {reinterpret_cast<float*>(buffers.outputs[0]), count_});
    return absl::OkStatus();
  }

 private:
  const float alpha_, beta_;
  const size_t count_;
};

// The library's kernel for two functions in a row is its reference.
absl::StatusOr<StepMaker> Take(const LowerContext& context) {
  const TensorSpec src = context.Input(0), dst = context.Output();
  RETURN_IF_ERROR(CheckNothingFused(context.node));
  RETURN_IF_ERROR(CheckOneLayout(src, dst));
  if (src.quant || dst.quant) return absl::UnimplementedError("types are not f32 in and out, expected those");
  ASSIGN_OR_RETURN(const PostOp post_op, AsPostOp(context.node));
  return [post_op, count = static_cast<size_t>(src.count())] {
    return std::make_unique<HardSigmoidStep>(post_op, count);
  };
}

std::vector<Offer> Offers() {
  std::vector<Offer> offers = ActivationOffers();
  offers.insert(offers.begin(), {.name = "hachi_hard_sigmoid", .take = Take});
  return offers;
}

}  // namespace

const OpDef& hard_sigmoid_op() {
  static const OpDef def = {.name = "HardSigmoid",
                            .infer = InferActivation,
                            .quantize = QuantRule::kRescale,
                            .rows = RowsOfElements,
                            .reference = ReferenceActivation,
                            .offers = Offers(),
                            .layout_agnostic = true,
                            .as_post_op = AsPostOp};
  return def;
}

}  // namespace hachi
