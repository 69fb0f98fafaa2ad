#include "engine/ops/depthwise.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/cpu/isa.h"
#include "engine/kernels/depthwise.h"
#include "engine/ops/clip_bounds.h"

namespace hachi {
namespace {

bool IsOneOf(int64_t value, int64_t a, int64_t b) { return value == a || value == b; }

bool KernelTakes(const ConvolutionSpec& spec) {
  if (DetectIsa() < Isa::kAvx512Vnni) return false;
  if (spec.src.shape.size() != 4 || spec.src.dtype != DType::kU8 || !spec.src.quant || !spec.dst.quant)
    return false;
  const Layout channels_last = Layout::ChannelsLast(4);
  if (spec.src.layout != channels_last || spec.dst.layout != channels_last) return false;
  if (spec.src.quant->zero_point() != 0 || !spec.weight_quant) return false;
  if (spec.weights->shape() != Shape{spec.groups, 1, 3, 3} || spec.src.shape[1] != spec.groups) return false;
  if (spec.strides[0] != spec.strides[1] || !IsOneOf(spec.strides[0], 1, 2)) return false;
  if (spec.dilations[0] != 1 || spec.dilations[1] != 1) return false;
  if (!IsOneOf(spec.pads_begin[0], 0, 1) || !IsOneOf(spec.pads_begin[1], 0, 1)) return false;
  return spec.post_ops.empty() || (spec.post_ops.size() == 1 && spec.post_ops[0].kind == PostOp::Kind::kClip);
}

class DepthwiseStep final : public KernelStep {
 public:
  DepthwiseStep(DepthwiseSpec spec, int64_t images)
      : KernelStep({.kernel = absl::StrCat("hachi_depthwise:", std::string(NameOf(DetectIsa())))}),
        kernel_(std::move(spec)),
        images_(images) {}

  bool Reads(size_t input) const override { return input == 0; }

 protected:
  absl::Status Run(const StepBuffers& buffers) const override {
    kernel_.Run(buffers.inputs[0], images_, buffers.outputs[0]);
    return absl::OkStatus();
  }

 private:
  const Depthwise kernel_;
  const int64_t images_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<Step>> MakeDepthwiseStep(const ConvolutionSpec& spec) {
  if (!KernelTakes(spec)) return absl::UnimplementedError("not a convolution of our depthwise kernel");
  const QuantParams& to = *spec.dst.quant;
  const ClipBounds bounds = ClipBounds::Of(spec.post_ops, spec.dst);
  DepthwiseSpec kernel{.height = spec.src.shape[2],
                       .width = spec.src.shape[3],
                       .channels = spec.groups,
                       .out_height = spec.dst.shape[2],
                       .out_width = spec.dst.shape[3],
                       .stride = spec.strides[0],
                       .pad_top = spec.pads_begin[0],
                       .pad_left = spec.pads_begin[1],
                       .to = spec.dst.dtype,
                       .lowest = bounds.lowest,
                       .highest = bounds.highest};
  const auto weights = spec.weights->As<int8_t>();
  kernel.weights.assign(weights.begin(), weights.end());
  for (size_t c = 0; c < static_cast<size_t>(spec.groups); ++c) {
    const float weight_scale = spec.weight_quant->scales[spec.weight_quant->per_tensor() ? 0 : c];
    kernel.factor.push_back(spec.src.quant->scale() * weight_scale / to.scale());
    const float bias = spec.bias == nullptr ? 0.0f : spec.bias->As<float>()[c];
    kernel.offset.push_back(bias / to.scale() + static_cast<float>(to.zero_point()));
  }
  return std::make_unique<DepthwiseStep>(std::move(kernel), spec.src.shape[0]);
}

}  // namespace hachi
