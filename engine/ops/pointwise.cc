#include "engine/ops/pointwise.h"

#include <algorithm>
#include <span>
#include <string_view>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/base/status_macros.h"
#include "engine/cpu/caches.h"
#include "engine/ops/fused_result.h"

namespace hachi {
namespace {

bool AreAll(std::span<const int64_t> values, int64_t value) {
  return std::ranges::all_of(values, [&](int64_t v) { return v == value; });
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
  return CheckFused(spec, /*adds_residual=*/true);
}

// Where this kernel is the faster one (`hachi bench --kernels` shows whether it is). Looks at one image, so
// that every batch runs on the same kernel and gets the same bytes.
absl::Status CheckSpeed(const ConvolutionSpec& spec) {
  const int64_t depth = spec.src.shape[1], channels = spec.dst.shape[1];
  const int64_t pixels = CountOf(std::span(spec.src.shape).subspan(2));
  if (depth % 4 != 0)
    return absl::UnimplementedError(absl::StrCat(depth, " channels in, expected a multiple of 4"));
  // What averages are made to takes less time than a call of the library's.
  if (pixels == 1) return absl::OkStatus();
  // Weights of 64 channels are read for every few pixels: with those they have to stay in the first cache.
  if (const int64_t deepest = FirstCacheBytes() * 3 / 4 / 64; depth > deepest)
    return absl::UnimplementedError(absl::StrCat(depth, " channels in, expected at most ", deepest,
                                                 ", whose weights stay in the first cache"));
  // A vector of results that is the only one, or not full, leaves instructions to wait for each other.
  if (channels <= 16)
    return absl::UnimplementedError(absl::StrCat(channels, " channels out, expected more than 16"));
  // The library adds to a residual where it lies; this kernel reads it from elsewhere, beside what it writes.
  if (const int64_t bytes = pixels * channels, most = SecondCacheBytes() / 4; spec.residual && bytes > most)
    return absl::UnimplementedError(absl::StrCat("a residual of ", bytes,
                                                 " bytes an image, expected at most ", most,
                                                 ", a quarter of the second cache"));
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

absl::StatusOr<std::unique_ptr<Step>> Make(const ConvolutionSpec& spec, int residual, WeightCache& cache) {
  ASSIGN_OR_RETURN(Pointwise kernel, MakePointwise(spec, cache));
  const int64_t pixels = spec.src.count() / spec.src.shape[1];
  return std::make_unique<PointwiseStep>(std::move(kernel), pixels, residual);
}

}  // namespace

absl::Status CheckPointwiseTypes(const ConvolutionSpec& spec) {
  std::vector<TensorSpec> tensors = {spec.src};
  if (spec.residual) tensors.push_back(*spec.residual);
  if (spec.residual || spec.dst.dtype != DType::kF32) tensors.push_back(spec.dst);
  for (const TensorSpec& tensor : tensors)
    if (!tensor.is_quantized_byte())
      return absl::UnimplementedError("a tensor is no u8 or s8 with a scale, expected each to be one");
  for (const TensorSpec& tensor : {spec.src, spec.dst})
    if (tensor.layout != Layout::ChannelsLast(tensor.shape.size()))
      return absl::UnimplementedError(
          absl::StrCat("a layout is ", tensor.layout.ToText(), ", expected channels_last"));
  if (!spec.weight_quant) return absl::UnimplementedError("weights are f32, expected s8");
  return absl::OkStatus();
}

absl::StatusOr<Pointwise> MakePointwise(const ConvolutionSpec& spec, WeightCache& cache) {
  FusedResult result = FusedResult::Of(spec);
  const Shape& shape = spec.weights->shape();
  const int64_t inputs = shape[1], pixels = CountOf(std::span(shape).subspan(2)), own = inputs * pixels;
  PointwiseSpec kernel{.depth = (own + 3) / 4 * 4,
                       .channels = shape[0],
                       .from = spec.src.dtype,
                       .to = spec.dst.dtype,
                       .lowest = result.bounds.lowest,
                       .highest = result.bounds.highest,
                       .factor = std::move(result.arithmetic.factor),
                       .offset = std::move(result.arithmetic.offset),
                       .fused = std::move(result.fused)};
  if (spec.residual) kernel.residual = {spec.residual->dtype, result.arithmetic.residual_factor};
  // Channels innermost, as in what they meet.
  const auto weights = spec.weights->As<int8_t>();
  kernel.weights.resize(static_cast<size_t>(kernel.channels * kernel.depth));
  for (int64_t c = 0; c < kernel.channels; ++c)
    for (int64_t p = 0; p < pixels; ++p)
      for (int64_t i = 0; i < inputs; ++i)
        kernel.weights[static_cast<size_t>(c * kernel.depth + p * inputs + i)] =
            weights[static_cast<size_t>(c * own + i * pixels + p)];
  const std::string_view layout = kernel.to == DType::kF32 ? "hachi_pointwise_f32" : "hachi_pointwise";
  ASSIGN_OR_RETURN(auto packed, cache.GetOrPack(spec.weights.get(), {layout.begin(), layout.end()},
                                                [&]() -> absl::StatusOr<AlignedBuffer> {
                                                  return Pointwise::Pack(kernel);
                                                }));
  return Pointwise(std::move(kernel), std::move(packed));
}

absl::StatusOr<StepMaker> TakePointwise(const ConvolutionSpec& spec, int residual, WeightCache& cache) {
  RETURN_IF_ERROR(CheckPointwiseTypes(spec));
  RETURN_IF_ERROR(CheckGeometry(spec));
  RETURN_IF_ERROR(CheckSpeed(spec));
  return [spec, residual, &cache] { return Make(spec, residual, cache); };
}

}  // namespace hachi
