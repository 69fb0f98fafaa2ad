// BatchNormalization (ONNX opset 15) at inference, where it has not been folded into a convolution.
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

absl::Status Infer(Node& node) {
  RETURN_IF_ERROR(CheckInputCount(node, 5, 5));
  RETURN_IF_ERROR(CheckRank(node, 0, 2, 12));
  RETURN_IF_ERROR(node.Float("epsilon", 1e-5f).status());
  const SymbolicShape& dims = *node.inputs[0]->dims;
  for (size_t i = 0; i < 5; ++i) {
    RETURN_IF_ERROR(CheckInputType(node, i, {DType::kF32}));
    if (i > 0 && node.inputs[i]->dims != SymbolicShape{dims[1]})
      return absl::InvalidArgumentError(absl::StrCat("input ", i, " ('", node.inputs[i]->name,
                                                     "') has shape ", ShapeText(*node.inputs[i]->dims),
                                                     ", expected [", dims[1].ToText(), "]"));
  }
  return SetOutput(node, DType::kF32, dims);
}

absl::Status Reference(const Node& node, std::span<const TensorView> inputs, std::span<Tensor> outputs) {
  ASSIGN_OR_RETURN(const float epsilon, node.Float("epsilon", 1e-5f));
  const auto x = inputs[0].As<float>(), gamma = inputs[1].As<float>(), beta = inputs[2].As<float>(),
             mean = inputs[3].As<float>(), variance = inputs[4].As<float>();
  const int64_t channels = inputs[0].shape[1], pixels = CountOf(inputs[0].shape.subspan(2));
  for (int64_t i = 0; i < outputs[0].count(); ++i) {
    const auto c = static_cast<size_t>(i / pixels % channels);
    const float y = (x[i] - mean[c]) / std::sqrt(variance[c] + epsilon) * gamma[c] + beta[c];
    StoreReal(outputs[0], i, ApplyPostOps(node, inputs, i, y), std::nullopt);
  }
  return absl::OkStatus();
}

// y = x * factor[c] + offset[c] on [outer, channels, inner] in memory order.
class ScaleShift final : public KernelStep {
 public:
  ScaleShift(int64_t outer, int64_t inner, std::vector<float> factor, std::vector<float> offset)
      : outer_(outer), inner_(inner), factor_(std::move(factor)), offset_(std::move(offset)) {}

 protected:
  absl::Status Run(const StepBuffers& buffers) const override {
    const auto* in = reinterpret_cast<const float*>(buffers.inputs[0]);
    auto* out = reinterpret_cast<float*>(buffers.outputs[0]);
    const auto channels = static_cast<int64_t>(factor_.size());
    // Rows of memory: all channels of a pixel where they lie together, else one channel's pixels.
    const int64_t length = inner_ == 1 ? channels : inner_;
    const int64_t rows = outer_ * channels * inner_ / length;
    ParallelFor(rows, kGrain / length + 1, [&](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; ++row) {
        const float* x = in + row * length;
        float* y = out + row * length;
        if (inner_ == 1) {
          const float *factor = factor_.data(), *offset = offset_.data();
#pragma omp simd
          for (int64_t c = 0; c < length; ++c) y[c] = x[c] * factor[c] + offset[c];
        } else {
          const float factor = factor_[row % channels], offset = offset_[row % channels];
#pragma omp simd
          for (int64_t i = 0; i < length; ++i) y[i] = x[i] * factor + offset;
        }
      }
    });
    return absl::OkStatus();
  }

 private:
  static constexpr int64_t kGrain = 16384;  // elements worth waking the team for: some µs

  const int64_t outer_, inner_;
  const std::vector<float> factor_, offset_;
};

absl::StatusOr<StepMaker> Take(const LowerContext& context) {
  const Node& node = context.node;
  const TensorSpec src = context.Input(0), dst = context.Output();
  for (size_t i = 1; i < 5; ++i)
    if (!node.inputs[i]->is_constant())
      return absl::UnimplementedError(absl::StrCat("input ", i, " is computed, expected a constant"));
  RETURN_IF_ERROR(CheckNothingFused(node));
  RETURN_IF_ERROR(CheckOneLayout(src, dst));
  ASSIGN_OR_RETURN(const float epsilon, node.Float("epsilon", 1e-5f));
  const auto parameter = [&](size_t i, size_t c) {
    return static_cast<double>(node.inputs[i]->constant->As<float>()[c]);
  };
  std::vector<float> factors, offsets;
  for (size_t c = 0; c < static_cast<size_t>(src.shape[1]); ++c) {
    const double factor = parameter(1, c) / std::sqrt(parameter(4, c) + static_cast<double>(epsilon));
    factors.push_back(static_cast<float>(factor));
    offsets.push_back(static_cast<float>(parameter(2, c) - parameter(3, c) * factor));
  }
  int64_t outer = 1, inner = 1;
  bool before = true;
  for (const int axis : src.layout.Order(src.shape.size())) {
    if (axis == 1) {
      before = false;
    } else {
      (before ? outer : inner) *= src.shape[axis];
    }
  }
  return [outer, inner, factors = std::move(factors), offsets = std::move(offsets)] {
    return std::make_unique<ScaleShift>(outer, inner, factors, offsets);
  };
}

}  // namespace

std::span<const OpDef> batch_normalization_ops() {
  static const OpDef defs[] = {{.name = "BatchNormalization",
                                .infer = Infer,
                                .rows = RowsOfBatchAxis,
                                .reference = Reference,
                                .offers = {{.name = "hachi_scale_shift", .take = Take}},
                                .layout_agnostic = true}};
  return defs;
}

}  // namespace hachi
