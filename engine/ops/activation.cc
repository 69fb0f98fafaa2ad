// Functions of one number that are a post-op, so that they can be fused behind what makes it. A member is a
// row of kActivations.
#include "engine/ops/activation.h"

#include <limits>

#include "absl/strings/str_cat.h"
#include "engine/base/status_macros.h"
#include "engine/kernels/unary.h"
#include "engine/onednn/binary.h"
#include "engine/ops/family.h"
#include "engine/ops/infer.h"
#include "engine/ops/onednn_step.h"
#include "engine/ops/quantized.h"
#include "engine/ops/table_step.h"
#include "engine/ops/take.h"

namespace hachi {
namespace {

absl::StatusOr<StepMaker> TakeInLibrary(const LowerContext& context) {
  const TensorSpec src = context.Input(0), dst = context.Output();
  RETURN_IF_ERROR(CheckOneLayout(src, dst));
  if (src.quant || dst.quant || !context.node.post_ops.empty())
    return absl::UnimplementedError("INT8 and fused operations are not this kernel's, expected f32 and none");
  ASSIGN_OR_RETURN(const PostOp own, FindOp(context.node.op)->as_post_op(context.node));
  // A row in memory order: the library knows no scalars.
  return TakePrimitive(FindEltwise(own, {DType::kF32, {src.count()}, Layout(), std::nullopt}), {});
}

absl::StatusOr<StepMaker> TakeInTable(const LowerContext& context) {
  std::vector<PostOp> functions = context.node.post_ops;
  for (const PostOp& function : functions)
    if (function.kind == PostOp::Kind::kAdd)
      return absl::UnimplementedError("an activation with a residual has no kernel, expected none");
  ASSIGN_OR_RETURN(const PostOp own, FindOp(context.node.op)->as_post_op(context.node));
  functions.insert(functions.begin(), own);
  return TakeTable(context, [functions = std::move(functions)](float x) {
    for (const PostOp& function : functions) x = ApplyPostOp(function, x, 0.0f);
    return x;
  });
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
absl::StatusOr<StepMaker> TakeHardSigmoid(const LowerContext& context) {
  const TensorSpec src = context.Input(0), dst = context.Output();
  RETURN_IF_ERROR(CheckNothingFused(context.node));
  RETURN_IF_ERROR(CheckOneLayout(src, dst));
  if (src.quant || dst.quant) return absl::UnimplementedError("types are not f32 in and out, expected those");
  ASSIGN_OR_RETURN(const PostOp post_op, FindOp(context.node.op)->as_post_op(context.node));
  return [post_op, count = static_cast<size_t>(src.count())] {
    return std::make_unique<HardSigmoidStep>(post_op, count);
  };
}

template <PostOp::Kind kKind>
absl::StatusOr<PostOp> Plain(const Node& /*node*/) {
  return PostOp{kKind};
}

absl::StatusOr<PostOp> Elu(const Node& node) {
  ASSIGN_OR_RETURN(const float alpha, node.Float("alpha", 1.0f));
  return PostOp{PostOp::Kind::kElu, alpha};
}

// In FP32, alone and behind a product, the library's polynomial is off by at most 1e-6 × (1 + |y|).
absl::StatusOr<PostOp> Gelu(const Node& node) {
  const auto approximate = node.String("approximate", "none");
  RETURN_IF_ERROR(approximate.status());
  if (*approximate == "none") return PostOp{PostOp::Kind::kGelu};
  if (*approximate == "tanh") return PostOp{PostOp::Kind::kGeluTanh};
  return absl::InvalidArgumentError(
      absl::StrCat("approximate is '", *approximate, "', expected none or tanh"));
}

absl::StatusOr<PostOp> HardSigmoidOf(const Node& node) {
  ASSIGN_OR_RETURN(const float alpha, node.Float("alpha", 0.2f));
  ASSIGN_OR_RETURN(const float beta, node.Float("beta", 0.5f));
  return PostOp{PostOp::Kind::kHardSigmoid, alpha, beta};
}

absl::StatusOr<PostOp> LeakyRelu(const Node& node) {
  ASSIGN_OR_RETURN(const float alpha, node.Float("alpha", 0.01f));
  return PostOp{PostOp::Kind::kLeakyRelu, alpha};
}

absl::StatusOr<PostOp> SwishOf(const Node& node) {
  ASSIGN_OR_RETURN(const float alpha, node.Float("alpha", 1.0f));
  return PostOp{PostOp::Kind::kSwish, alpha};
}

absl::StatusOr<PostOp> Relu(const Node& /*node*/) {
  return PostOp{PostOp::Kind::kClip, 0.0f, std::numeric_limits<float>::infinity()};
}

struct Activation {
  std::string_view name;
  absl::StatusOr<PostOp> (*post_op)(const Node& node);
  std::string_view kernel = "";  // one that comes before the library's
  absl::StatusOr<StepMaker> (*take)(const LowerContext& context) = nullptr;
};

constexpr Activation kActivations[] = {
    {"Elu", Elu},
    {"Gelu", Gelu},
    {"HardSigmoid", HardSigmoidOf, "hachi_hard_sigmoid", TakeHardSigmoid},
    {"HardSwish", Plain<PostOp::Kind::kHardSwish>},
    {"LeakyRelu", LeakyRelu},
    {"Relu", Relu},
    {"Sigmoid", Plain<PostOp::Kind::kSigmoid>},
    {"Swish", SwishOf},
    {"Tanh", Plain<PostOp::Kind::kTanh>},
};

OpDef DefOf(const Activation& activation) {
  const auto infer = [&activation](Node& node) -> absl::Status {
    RETURN_IF_ERROR(CheckInputCount(node, 1, 1));
    RETURN_IF_ERROR(CheckReal(node, 0));
    RETURN_IF_ERROR(activation.post_op(node).status());
    return SetOutput(node, RealType(*node.outputs[0]), *node.inputs[0]->dims);
  };
  const auto reference = [&activation](const Node& node, std::span<const TensorView> inputs,
                                       std::span<Tensor> outputs) -> absl::Status {
    ASSIGN_OR_RETURN(const PostOp post_op, activation.post_op(node));
    for (int64_t i = 0; i < outputs[0].count(); ++i) {
      const float y = ApplyPostOp(post_op, RealAt(inputs[0], i, node.inputs[0]->quant), 0.0f);
      StoreReal(outputs[0], i, ApplyPostOps(node, inputs, i, y), node.outputs[0]->quant);
    }
    return absl::OkStatus();
  };
  std::vector<Offer> offers = ActivationOffers();
  if (activation.take != nullptr)
    offers.insert(offers.begin(), {.name = activation.kernel, .take = activation.take});
  return {.name = activation.name,
          .infer = infer,
          .quantize = QuantRule::kRescale,
          .rows = RowsOfElements,
          .reference = reference,
          .offers = std::move(offers),
          .layout_agnostic = true,
          .as_post_op = activation.post_op};
}

}  // namespace

std::vector<Offer> ActivationOffers() {
  return {{.name = "onednn", .take = TakeInLibrary}, {.name = "hachi_table", .take = TakeInTable}};
}

std::span<const OpDef> activation_ops() {
  static const std::vector<OpDef> defs = OpsOf(kActivations, DefOf);
  return defs;
}

}  // namespace hachi
