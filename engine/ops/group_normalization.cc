// InstanceNormalization (ONNX opset 6) and GroupNormalization (opset 21; with our attribute `scales_groups`
// that of opset 18): channels, or groups of them, brought to mean 0 and deviation 1 over a row's pixels.
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
  int64_t groups, channels;
  bool scales_groups;
  float epsilon;
};

absl::StatusOr<Rule> RuleOf(const Node& node) {
  const auto channels = (*node.inputs[0]->dims)[1].constant();
  if (!channels) return absl::UnimplementedError("the number of channels is free, expected a number");
  Rule rule{.groups = *channels, .channels = *channels, .scales_groups = false, .epsilon = 1e-5f};
  if (node.op == "GroupNormalization") {
    ASSIGN_OR_RETURN(rule.groups, node.Int("num_groups", 0));
    ASSIGN_OR_RETURN(const int64_t scales_groups, node.Int("scales_groups", 0));
    rule.scales_groups = scales_groups != 0;
  }
  ASSIGN_OR_RETURN(rule.epsilon, node.Float("epsilon", 1e-5f));
  if (rule.groups < 1 || *channels % rule.groups != 0)
    return absl::InvalidArgumentError(
        absl::StrCat(rule.groups, " groups, expected a divisor of the ", *channels, " channels"));
  return rule;
}

absl::Status Infer(Node& node) {
  RETURN_IF_ERROR(CheckInputCount(node, 3, 3));
  RETURN_IF_ERROR(CheckRank(node, 0, 2, 12));
  for (size_t i = 0; i < 3; ++i) RETURN_IF_ERROR(CheckInputType(node, i, {DType::kF32}));
  ASSIGN_OR_RETURN(const Rule rule, RuleOf(node));
  const SymbolicShape expected{Dim(rule.scales_groups ? rule.groups : rule.channels)};
  for (size_t i = 1; i < 3; ++i)
    if (*node.inputs[i]->dims != expected)
      return absl::InvalidArgumentError(absl::StrCat(
          "input ", i, " has shape ", ShapeText(*node.inputs[i]->dims), ", expected ", ShapeText(expected)));
  return SetOutput(node, DType::kF32, *node.inputs[0]->dims);
}

absl::Status Reference(const Node& node, std::span<const TensorView> inputs, std::span<Tensor> outputs) {
  ASSIGN_OR_RETURN(const Rule rule, RuleOf(node));
  const int64_t pixels = CountOf(inputs[0].shape.subspan(2)), group = rule.channels / rule.groups,
                length = group * pixels;
  const auto x = inputs[0].As<float>();
  for (int64_t begin = 0; begin < inputs[0].count(); begin += length) {
    double sum = 0, squares = 0;
    for (int64_t i = 0; i < length; ++i) sum += static_cast<double>(x[begin + i]);
    const double mean = sum / static_cast<double>(length);
    for (int64_t i = 0; i < length; ++i)
      squares += (static_cast<double>(x[begin + i]) - mean) * (static_cast<double>(x[begin + i]) - mean);
    const double deviation =
        std::sqrt(squares / static_cast<double>(length) + static_cast<double>(rule.epsilon));
    for (int64_t i = 0; i < length; ++i) {
      const int64_t channel = (begin + i) / pixels % rule.channels;
      const int64_t parameter = rule.scales_groups ? channel / group : channel;
      const double y = (static_cast<double>(x[begin + i]) - mean) / deviation *
                           static_cast<double>(inputs[1].As<float>()[parameter]) +
                       static_cast<double>(inputs[2].As<float>()[parameter]);
      StoreReal(outputs[0], begin + i, ApplyPostOps(node, inputs, begin + i, static_cast<float>(y)),
                std::nullopt);
    }
  }
  return absl::OkStatus();
}

// Per row and channel a factor and an offset, found in two passes; then one pass that applies them. In memory
// channels are either outside or inside of the pixels.
class GroupNormStep final : public KernelStep {
 public:
  GroupNormStep(const Rule& rule, int64_t rows, int64_t pixels, bool channels_inside)
      : KernelStep({.scratch_bytes = static_cast<size_t>(3 * rows * rule.channels) * sizeof(double)}),
        rule_(rule),
        rows_(rows),
        pixels_(pixels),
        channels_inside_(channels_inside) {}

 protected:
  absl::Status Run(const StepBuffers& buffers) const override {
    const auto* in = reinterpret_cast<const float*>(buffers.inputs[0]);
    const auto* scale = reinterpret_cast<const float*>(buffers.inputs[1]);
    const auto* bias = reinterpret_cast<const float*>(buffers.inputs[2]);
    auto* out = reinterpret_cast<float*>(buffers.outputs[0]);
    auto* scratch = reinterpret_cast<double*>(buffers.scratch);
    ParallelFor(rows_, 1, [&](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; ++row)
        Row(in + row * rule_.channels * pixels_, scale, bias, scratch + 3 * row * rule_.channels,
            out + row * rule_.channels * pixels_);
    });
    return absl::OkStatus();
  }

 private:
  void Row(const float* x, const float* scale, const float* bias, double* means, float* y) const {
    const int64_t channels = rule_.channels, group = channels / rule_.groups;
    double *squares = means + channels, *sums = squares + channels;
    std::fill(means, means + 3 * channels, 0.0);
    const auto visit = [&](const auto& fn) {
      if (channels_inside_) {
        for (int64_t p = 0; p < pixels_; ++p)
          for (int64_t c = 0; c < channels; ++c) fn(c, p * channels + c);
      } else {
        for (int64_t c = 0; c < channels; ++c)
          for (int64_t p = 0; p < pixels_; ++p) fn(c, c * pixels_ + p);
      }
    };
    visit([&](int64_t c, int64_t at) { sums[c] += static_cast<double>(x[at]); });
    const auto elements = static_cast<double>(group * pixels_);
    for (int64_t g = 0; g < rule_.groups; ++g) {
      double sum = 0;
      for (int64_t c = g * group; c < (g + 1) * group; ++c) sum += sums[c];
      for (int64_t c = g * group; c < (g + 1) * group; ++c) means[c] = sum / elements;
    }
    visit([&](int64_t c, int64_t at) {
      const double distance = static_cast<double>(x[at]) - means[c];
      squares[c] += distance * distance;
    });
    // Squares become factors and means offsets.
    for (int64_t g = 0; g < rule_.groups; ++g) {
      double sum = 0;
      for (int64_t c = g * group; c < (g + 1) * group; ++c) sum += squares[c];
      const double inverse = 1 / std::sqrt(sum / elements + static_cast<double>(rule_.epsilon));
      for (int64_t c = g * group; c < (g + 1) * group; ++c) {
        const int64_t parameter = rule_.scales_groups ? g : c;
        squares[c] = inverse * static_cast<double>(scale[parameter]);
        means[c] = static_cast<double>(bias[parameter]) - means[c] * squares[c];
      }
    }
    visit([&](int64_t c, int64_t at) {
      y[at] = static_cast<float>(static_cast<double>(x[at]) * squares[c] + means[c]);
    });
  }

  const Rule rule_;
  const int64_t rows_, pixels_;
  const bool channels_inside_;
};

absl::StatusOr<StepMaker> Take(const LowerContext& context) {
  const TensorSpec src = context.Input(0), dst = context.Output();
  RETURN_IF_ERROR(CheckOneLayout(src, dst));
  RETURN_IF_ERROR(CheckNothingFused(context.node));
  ASSIGN_OR_RETURN(const Rule rule, RuleOf(context.node));
  const bool inside = Layout::ChannelsLast(src.shape.size()).SameBytes(src.layout, src.shape);
  if (!inside && !Layout().SameBytes(src.layout, src.shape))
    return absl::UnimplementedError("neither row-major nor channels-last, expected one of them");
  return [rule, rows = src.shape[0], pixels = CountOf(std::span(src.shape).subspan(2)), inside] {
    return std::make_unique<GroupNormStep>(rule, rows, pixels, inside);
  };
}

OpDef Member(std::string_view name) {
  return {.name = name,
          .infer = Infer,
          .rows = RowsOfBatchAxis,
          .reference = Reference,
          .offers = {{.name = "hachi_group_norm", .take = Take}},
          .layout_agnostic = true};
}

}  // namespace

std::span<const OpDef> group_normalization_ops() {
  static const OpDef defs[] = {Member("GroupNormalization"), Member("InstanceNormalization")};
  return defs;
}

}  // namespace hachi
