// Clip (ONNX opset 13): bounds are inputs 1 and 2, either may be left out.
#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>
#include <vector>

#include "absl/strings/str_cat.h"
#include "engine/base/status_macros.h"
#include "engine/cpu/team.h"
#include "engine/ops/activation.h"
#include "engine/ops/infer.h"
#include "engine/ops/quantized.h"
#include "engine/ops/take.h"

namespace hachi {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

absl::StatusOr<float> ConstantBound(const Node& node, size_t i, float otherwise) {
  const Value* bound = node.input(i);
  if (bound == nullptr) return otherwise;
  if (!bound->is_constant())
    return absl::UnimplementedError(
        absl::StrCat("bound '", bound->name, "' is computed, expected a constant"));
  return RealAt(bound->constant->view(), 0, std::nullopt);
}

absl::StatusOr<PostOp> AsPostOp(const Node& node) {
  if (!IsReal(*node.inputs[0]))
    return absl::UnimplementedError("clips integers that stand for no real numbers, expected f32");
  ASSIGN_OR_RETURN(const float low, ConstantBound(node, 1, -kInfinity));
  ASSIGN_OR_RETURN(const float high, ConstantBound(node, 2, kInfinity));
  return PostOp{PostOp::Kind::kClip, low, high};
}

absl::Status Infer(Node& node) {
  RETURN_IF_ERROR(CheckInputCount(node, 1, 3));
  RETURN_IF_ERROR(CheckInputType(
      node, 0, {DType::kF32, DType::kU8, DType::kS8, DType::kU16, DType::kS16, DType::kS32, DType::kS64}));
  for (size_t i = 1; i < node.inputs.size(); ++i) {
    const Value* bound = node.inputs[i];
    if (bound == nullptr) continue;
    if (CountOf(*bound->dims) != Dim(1))
      return absl::InvalidArgumentError(absl::StrCat("bound '", bound->name, "' has shape ",
                                                     ShapeText(*bound->dims), ", expected a scalar"));
    RETURN_IF_ERROR(CheckInputType(node, i, {DType::kF32, node.inputs[0]->dtype}));
  }
  const bool real = IsReal(*node.inputs[0]);
  return SetOutput(node, real ? RealType(*node.outputs[0]) : node.inputs[0]->dtype, *node.inputs[0]->dims);
}

// Bound `i` of integers, `none` where it is left out or not a number.
int64_t IntegerBound(const Node& node, std::span<const TensorView> inputs, size_t i, int64_t none) {
  if (node.input(i) == nullptr) return none;
  if (inputs[i].dtype != DType::kF32) return IntegerAt(inputs[i], 0);
  const float bound = inputs[i].As<float>()[0];
  return std::isnan(bound) ? none : ConvertTo<int64_t>(bound);
}

absl::Status Reference(const Node& node, std::span<const TensorView> inputs, std::span<Tensor> outputs) {
  if (!IsReal(*node.inputs[0])) {
    const int64_t low = IntegerBound(node, inputs, 1, std::numeric_limits<int64_t>::min());
    const int64_t high = IntegerBound(node, inputs, 2, std::numeric_limits<int64_t>::max());
    VisitDType(outputs[0].dtype(), [&](auto zero) {
      for (int64_t i = 0; i < outputs[0].count(); ++i) {
        const int64_t y = std::min(std::max(IntegerAt(inputs[0], i), low), high);
        outputs[0].As<decltype(zero)>()[i] = static_cast<decltype(zero)>(y);
      }
    });
    return absl::OkStatus();
  }
  const auto has = [&](size_t i) { return node.input(i) != nullptr; };
  const float low = has(1) ? RealAt(inputs[1], 0, std::nullopt) : -kInfinity;
  const float high = has(2) ? RealAt(inputs[2], 0, std::nullopt) : kInfinity;
  for (int64_t i = 0; i < outputs[0].count(); ++i) {
    const float x = RealAt(inputs[0], i, node.inputs[0]->quant);
    const float y = x < low ? low : x;
    StoreReal(outputs[0], i, ApplyPostOps(node, inputs, i, y > high ? high : y), node.outputs[0]->quant);
  }
  return absl::OkStatus();
}

// Bounds that a run finds.
class ClipStep final : public KernelStep {
 public:
  explicit ClipStep(int64_t count) : count_(count) {}

 protected:
  absl::Status Run(const StepBuffers& buffers) const override {
    const auto bound = [&](size_t i, float none) {
      const bool given = i < buffers.inputs.size() && buffers.inputs[i] != nullptr;
      return given ? *reinterpret_cast<const float*>(buffers.inputs[i]) : none;
    };
    const float low = bound(1, -kInfinity), high = bound(2, kInfinity);
    const auto* in = reinterpret_cast<const float*>(buffers.inputs[0]);
    auto* out = reinterpret_cast<float*>(buffers.outputs[0]);
    ParallelFor(count_, kGrain, [&](int64_t begin, int64_t end) {
#pragma omp simd
      for (int64_t i = begin; i < end; ++i) {
        const float y = in[i] < low ? low : in[i];
        out[i] = y > high ? high : y;
      }
    });
    return absl::OkStatus();
  }

 private:
  static constexpr int64_t kGrain = 1 << 15;  // elements worth waking the team for: some µs

  const int64_t count_;
};

absl::StatusOr<StepMaker> TakeComputedBounds(const LowerContext& context) {
  const TensorSpec src = context.Input(0), dst = context.Output();
  RETURN_IF_ERROR(CheckNothingFused(context.node));
  RETURN_IF_ERROR(CheckOneLayout(src, dst));
  for (const Value* input : context.node.inputs)
    if (input != nullptr && (input->dtype != DType::kF32 || input->quant))
      return absl::UnimplementedError(
          absl::StrCat("'", input->name, "' is ", std::string(NameOf(input->dtype)), ", expected f32"));
  if (dst.dtype != DType::kF32) return absl::UnimplementedError("the result is no f32, expected f32");
  return [count = src.count()] { return std::make_unique<ClipStep>(count); };
}

std::vector<Offer> Offers() {
  std::vector<Offer> offers = ActivationOffers();
  offers.push_back({.name = "hachi_clip", .take = TakeComputedBounds});
  return offers;
}

}  // namespace

std::span<const OpDef> clip_ops() {
  static const OpDef defs[] = {{.name = "Clip",
                                .infer = Infer,
                                .quantize = QuantRule::kRescale,
                                .rows = RowsOfElements,
                                .reference = Reference,
                                .offers = Offers(),
                                .layout_agnostic = true,
                                .as_post_op = AsPostOp}};
  return defs;
}

}  // namespace hachi
