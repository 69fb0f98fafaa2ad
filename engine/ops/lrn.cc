// LRN (ONNX opset 13): each element divided by a power of the squares of the channels around it.
#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "engine/base/status_macros.h"
#include "engine/cpu/team.h"
#include "engine/ops/infer.h"
#include "engine/ops/op.h"
#include "engine/ops/quantized.h"
#include "engine/ops/take.h"

namespace hachi {
namespace {

struct Rule {
  float alpha, beta, bias;
  int64_t size;

  // Channels before and behind that count.
  int64_t before() const { return (size - 1) / 2; }
  int64_t behind() const { return size / 2; }

  float Factor(double squares) const {
    return std::pow(bias + alpha / static_cast<float>(size) * static_cast<float>(squares), -beta);
  }
};

absl::StatusOr<Rule> RuleOf(const Node& node) {
  Rule rule{};
  ASSIGN_OR_RETURN(rule.alpha, node.Float("alpha", 0.0001f));
  ASSIGN_OR_RETURN(rule.beta, node.Float("beta", 0.75f));
  ASSIGN_OR_RETURN(rule.bias, node.Float("bias", 1.0f));
  ASSIGN_OR_RETURN(rule.size, node.Int("size", 0));
  if (rule.size < 1 || rule.size > 1 << 20)
    return absl::InvalidArgumentError(absl::StrCat("size is ", rule.size, ", expected 1 to 1048576"));
  return rule;
}

absl::Status Infer(Node& node) {
  RETURN_IF_ERROR(CheckInputCount(node, 1, 1));
  RETURN_IF_ERROR(CheckInputType(node, 0, {DType::kF32}));
  RETURN_IF_ERROR(CheckRank(node, 0, 2, 12));
  RETURN_IF_ERROR(RuleOf(node).status());
  return SetOutput(node, DType::kF32, *node.inputs[0]->dims);
}

absl::Status Reference(const Node& node, std::span<const TensorView> inputs, std::span<Tensor> outputs) {
  ASSIGN_OR_RETURN(const Rule rule, RuleOf(node));
  const auto x = inputs[0].As<float>();
  const int64_t channels = inputs[0].shape[1], pixels = CountOf(inputs[0].shape.subspan(2));
  for (int64_t i = 0; i < inputs[0].count(); ++i) {
    const int64_t channel = i / pixels % channels, first = i - channel * pixels;
    double squares = 0;
    for (int64_t c = std::max<int64_t>(0, channel - rule.before());
         c <= std::min(channels - 1, channel + rule.behind()); ++c)
      squares += static_cast<double>(x[first + c * pixels]) * static_cast<double>(x[first + c * pixels]);
    StoreReal(outputs[0], i, ApplyPostOps(node, inputs, i, x[i] * rule.Factor(squares)), std::nullopt);
  }
  return absl::OkStatus();
}

// A window of squares slides over each pixel's channels, which lie `stride` apart.
class LrnStep final : public KernelStep {
 public:
  LrnStep(const Rule& rule, int64_t rows, int64_t channels, int64_t pixels, bool channels_inside)
      : rule_(rule), rows_(rows), channels_(channels), pixels_(pixels), inside_(channels_inside) {}

 protected:
  absl::Status Run(const StepBuffers& buffers) const override {
    const auto* in = reinterpret_cast<const float*>(buffers.inputs[0]);
    auto* out = reinterpret_cast<float*>(buffers.outputs[0]);
    const int64_t stride = inside_ ? 1 : pixels_;
    ParallelFor(rows_ * pixels_, kGrain / channels_ + 1, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        const int64_t at = inside_ ? i * channels_ : i / pixels_ * channels_ * pixels_ + i % pixels_;
        Pixel(in + at, stride, out + at);
      }
    });
    return absl::OkStatus();
  }

 private:
  static constexpr int64_t kGrain = 1024;  // elements worth waking the team for: some µs

  void Pixel(const float* x, int64_t stride, float* y) const {
    const auto square = [&](int64_t c) {
      return static_cast<double>(x[c * stride]) * static_cast<double>(x[c * stride]);
    };
    double squares = 0;
    for (int64_t c = 0; c < std::min(channels_, rule_.behind()); ++c) squares += square(c);
    for (int64_t c = 0; c < channels_; ++c) {
      if (c + rule_.behind() < channels_) squares += square(c + rule_.behind());
      if (c > rule_.before()) squares -= square(c - rule_.before() - 1);
      y[c * stride] = x[c * stride] * rule_.Factor(std::max(squares, 0.0));
    }
  }

  const Rule rule_;
  const int64_t rows_, channels_, pixels_;
  const bool inside_;
};

absl::StatusOr<StepMaker> Take(const LowerContext& context) {
  const TensorSpec src = context.Input(0), dst = context.Output();
  RETURN_IF_ERROR(CheckOneLayout(src, dst));
  RETURN_IF_ERROR(CheckNothingFused(context.node));
  ASSIGN_OR_RETURN(const Rule rule, RuleOf(context.node));
  const bool inside = Layout::ChannelsLast(src.shape.size()).SameBytes(src.layout, src.shape);
  if (!inside && !Layout().SameBytes(src.layout, src.shape))
    return absl::UnimplementedError("neither row-major nor channels-last, expected one of them");
  return [rule, shape = src.shape, inside] {
    return std::make_unique<LrnStep>(rule, shape[0], shape[1], CountOf(std::span(shape).subspan(2)), inside);
  };
}

}  // namespace

std::span<const OpDef> lrn_ops() {
  static const OpDef defs[] = {{.name = "LRN",
                                .infer = Infer,
                                .rows = RowsOfBatchAxis,
                                .reference = Reference,
                                .offers = {{.name = "hachi_lrn", .take = Take}},
                                .layout_agnostic = true}};
  return defs;
}

}  // namespace hachi
