#include "engine/ops/pointwise.h"

#include <algorithm>
#include <span>
#include <string_view>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/base/status_macros.h"
#include "engine/kernels/pointwise.h"
#include "engine/product/channel_arithmetic.h"
#include "engine/product/clip_bounds.h"

namespace hachi {
namespace {

// Where this kernel is the faster one, measured on Emerald Rapids: deeper products, whose panels of weights
// outgrow the first cache, and results of a single vector are oneDNN's.
constexpr int64_t kMaxDepth = 384, kMinChannels = 17;

bool AreAll(std::span<const int64_t> values, int64_t value) {
  return std::ranges::all_of(values, [&](int64_t v) { return v == value; });
}

// The fused operations are at most a residual, then at most a clip.
bool FusesOnlyResidualAndClip(std::span<const PostOp> post_ops) {
  if (!post_ops.empty() && post_ops.front().kind == PostOp::Kind::kAdd) post_ops = post_ops.subspan(1);
  return post_ops.empty() || (post_ops.size() == 1 && post_ops[0].kind == PostOp::Kind::kClip);
}

absl::Status CheckTypes(const ConvolutionSpec& spec) {
  std::vector<TensorSpec> tensors = {spec.src, spec.dst};
  if (spec.residual) tensors.push_back(*spec.residual);
  for (const TensorSpec& tensor : tensors) {
    if (!tensor.is_quantized_byte())
      return absl::UnimplementedError("a tensor is no u8 or s8 with a scale, expected each to be one");
    if (tensor.layout != Layout::ChannelsLast(tensor.shape.size()))
      return absl::UnimplementedError(
          absl::StrCat("a layout is ", tensor.layout.ToText(), ", expected channels_last"));
  }
  if (!spec.weight_quant) return absl::UnimplementedError("weights are f32, expected s8");
  return absl::OkStatus();
}

absl::Status CheckGeometry(const ConvolutionSpec& spec) {
  if (spec.groups != 1)
    return absl::UnimplementedError(absl::StrCat("group is ", spec.groups, ", expected 1"));
  if (!AreAll(std::span(spec.weights->shape()).subspan(2), 1))
    return absl::UnimplementedError(
        absl::StrCat("weights are ", ShapeText(spec.weights->shape()), ", expected 1 x 1"));
  if (!AreAll(spec.strides, 1))
    return absl::UnimplementedError(absl::StrCat("strides are ", ShapeText(spec.strides), ", expected 1"));
  if (!AreAll(spec.pads_begin, 0) || !AreAll(spec.pads_end, 0))
    return absl::UnimplementedError("there is padding, expected none");
  if (!FusesOnlyResidualAndClip(spec.post_ops) || !spec.channel_factors.empty())
    return absl::UnimplementedError("more is fused than a residual and a clip, expected at most those");
  return absl::OkStatus();
}

absl::Status CheckSpeed(const ConvolutionSpec& spec) {
  if (const int64_t depth = spec.src.shape[1]; depth % 4 != 0 || depth > kMaxDepth)
    return absl::UnimplementedError(
        absl::StrCat(depth, " channels in, expected a multiple of 4 up to ", kMaxDepth));
  if (spec.dst.shape[1] < kMinChannels)
    return absl::UnimplementedError(
        absl::StrCat(spec.dst.shape[1], " channels out, expected at least ", kMinChannels));
  return absl::OkStatus();
}

class PointwiseStep final : public KernelStep {
 public:
  PointwiseStep(Pointwise kernel, int64_t pixels, int residual)
      : kernel_(std::move(kernel)), pixels_(pixels), residual_(residual) {}

  bool Reads(size_t input) const override { return input == 0 || static_cast<int>(input) == residual_; }

 protected:
  absl::Status Run(const StepBuffers& buffers) const override {
    kernel_.Run(buffers.inputs[0], pixels_,
                residual_ < 0 ? nullptr : buffers.inputs[static_cast<size_t>(residual_)], buffers.outputs[0]);
    return absl::OkStatus();
  }

 private:
  const Pointwise kernel_;
  const int64_t pixels_;
  const int residual_;
};

PointwiseSpec KernelOf(const ConvolutionSpec& spec) {
  const ClipBounds bounds = ClipBounds::Of(spec.post_ops, spec.dst);
  PointwiseSpec kernel{.depth = spec.src.shape[1],
                       .channels = spec.dst.shape[1],
                       .from = spec.src.dtype,
                       .to = spec.dst.dtype,
                       .lowest = bounds.lowest,
                       .highest = bounds.highest};
  const auto weights = spec.weights->As<int8_t>();
  kernel.weights.assign(weights.begin(), weights.end());
  ChannelArithmetic arithmetic = ChannelArithmetic::Of(spec);
  if (spec.residual) kernel.residual = {spec.residual->dtype, arithmetic.residual_factor};
  kernel.factor = std::move(arithmetic.factor);
  kernel.offset = std::move(arithmetic.offset);
  return kernel;
}

absl::StatusOr<std::unique_ptr<Step>> Make(const ConvolutionSpec& spec, int residual, WeightCache& cache) {
  PointwiseSpec kernel = KernelOf(spec);
  constexpr std::string_view kLayout = "hachi_pointwise";
  ASSIGN_OR_RETURN(auto packed, cache.GetOrPack(spec.weights.get(), {kLayout.begin(), kLayout.end()},
                                                [&]() -> absl::StatusOr<AlignedBuffer> {
                                                  return Pointwise::Pack(kernel);
                                                }));
  const int64_t pixels = spec.src.count() / kernel.depth;
  return std::make_unique<PointwiseStep>(Pointwise(std::move(kernel), std::move(packed)), pixels, residual);
}

}  // namespace

absl::StatusOr<StepMaker> TakePointwise(const ConvolutionSpec& spec, int residual, WeightCache& cache) {
  RETURN_IF_ERROR(CheckTypes(spec));
  RETURN_IF_ERROR(CheckGeometry(spec));
  RETURN_IF_ERROR(CheckSpeed(spec));
  return [spec, residual, &cache] { return Make(spec, residual, cache); };
}

}  // namespace hachi
