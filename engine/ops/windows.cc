#include <algorithm>
#include <cstring>
#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/base/status_macros.h"
#include "engine/cpu/team.h"
#include "engine/ops/fused_result.h"
#include "engine/ops/pointwise.h"
#include "engine/ops/window.h"

namespace hachi {
namespace {

// Windows of rows of pixels, channels innermost.
struct Windows {
  int64_t images, channels;
  int64_t height, width, out_height, out_width;
  int64_t kernel_y, kernel_x, stride_y, stride_x, pad_top, pad_left;
  uint8_t padding;
  int64_t bytes;  // from one window to the next where they are copied to

  static Windows Of(const ConvolutionSpec& spec) {
    const auto in = Three(std::span(spec.src.shape).subspan(2), 1),
               out = Three(std::span(spec.dst.shape).subspan(2), 1),
               kernel = Three(std::span(spec.weights->shape()).subspan(2), 1),
               stride = Three(spec.strides, 1), pad = Three(spec.pads_begin, 0);
    Windows w{.images = spec.src.shape[0],
              .channels = spec.src.shape[1],
              .height = in[1],
              .width = in[2],
              .out_height = out[1],
              .out_width = out[2],
              .kernel_y = kernel[1],
              .kernel_x = kernel[2],
              .stride_y = stride[1],
              .stride_x = stride[2],
              .pad_top = pad[1],
              .pad_left = pad[2],
              .padding = static_cast<uint8_t>(spec.src.quant->zero_points[0])};
    w.bytes = (w.kernel_y * w.kernel_x * w.channels + 3) / 4 * 4;
    return w;
  }

  int64_t count() const { return images * out_height * out_width; }

  void Copy(const uint8_t* in, uint8_t* out) const {
    constexpr int64_t kGrain = 1 << 17;  // bytes worth waking the team for: some µs of one core
    ParallelFor(images * out_height, kGrain / (out_width * bytes) + 1, [&](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; ++row) {
        const uint8_t* image = in + row / out_height * height * width * channels;
        for (int64_t x = 0; x < out_width; ++x)
          CopyOne(image, row % out_height * stride_y - pad_top, x * stride_x - pad_left,
                  out + (row * out_width + x) * bytes);
      }
    });
  }

 private:
  // The window whose first pixel is at (y, x), which may be outside.
  void CopyOne(const uint8_t* image, int64_t y, int64_t x, uint8_t* out) const {
    const int64_t before = std::clamp<int64_t>(-x, 0, kernel_x),
                  after = std::clamp<int64_t>(x + kernel_x - width, 0, kernel_x - before);
    for (int64_t k = 0; k < kernel_y; ++k, out += kernel_x * channels) {
      if (y + k < 0 || y + k >= height) {
        std::memset(out, padding, static_cast<size_t>(kernel_x * channels));
        continue;
      }
      std::memset(out, padding, static_cast<size_t>(before * channels));
      std::memcpy(out + before * channels, image + ((y + k) * width + x + before) * channels,
                  static_cast<size_t>((kernel_x - before - after) * channels));
      std::memset(out + (kernel_x - after) * channels, padding, static_cast<size_t>(after * channels));
    }
  }
};

class WindowsStep final : public KernelStep {
 public:
  WindowsStep(const Windows& windows, Pointwise kernel, int residual)
      : KernelStep({.scratch_bytes = static_cast<size_t>(windows.count() * windows.bytes)}),
        windows_(windows),
        kernel_(std::move(kernel)),
        residual_(residual) {}

  bool Reads(size_t input) const override { return input == 0 || static_cast<int>(input) == residual_; }

 protected:
  absl::Status Run(const StepBuffers& buffers) const override {
    windows_.Copy(reinterpret_cast<const uint8_t*>(buffers.inputs[0]),
                  reinterpret_cast<uint8_t*>(buffers.scratch));
    kernel_.Run(buffers.scratch, windows_.count(),
                residual_ < 0 ? nullptr : buffers.inputs[static_cast<size_t>(residual_)], buffers.outputs[0]);
    return absl::OkStatus();
  }

 private:
  const Windows windows_;
  const Pointwise kernel_;
  const int residual_;
};

absl::Status CheckWindows(const ConvolutionSpec& spec) {
  const Shape& weights = spec.weights->shape();
  if (weights.size() > 4)
    return absl::UnimplementedError(
        absl::StrCat("weights are ", ShapeText(weights), ", expected one or two axes of pixels"));
  if (spec.groups != 1)
    return absl::UnimplementedError(absl::StrCat("group is ", spec.groups, ", expected 1"));
  for (const int64_t dilation : spec.dilations)
    if (dilation != 1)
      return absl::UnimplementedError(
          absl::StrCat("dilations are ", ShapeText(spec.dilations), ", expected 1"));
  return CheckFused(spec, /*adds_residual=*/true);
}

// Where copying windows costs little beside their products, which the library would compute with empty lanes.
absl::Status CheckSpeed(const ConvolutionSpec& spec) {
  constexpr int64_t kMaxChannels = 4, kMinRun = 32, kMinChannelsOut = 17, kMaxCopies = 8;
  const Windows windows = Windows::Of(spec);
  if (windows.channels > kMaxChannels || windows.kernel_x * windows.channels < kMinRun)
    return absl::UnimplementedError(absl::StrCat(windows.channels, " channels in rows of ", windows.kernel_x,
                                                 ", expected at most ", kMaxChannels, " and ", kMinRun,
                                                 " numbers in a row"));
  if (spec.dst.shape[1] < kMinChannelsOut)
    return absl::UnimplementedError(
        absl::StrCat(spec.dst.shape[1], " channels out, expected at least ", kMinChannelsOut));
  if (windows.count() * windows.bytes > kMaxCopies * spec.src.count())
    return absl::UnimplementedError(
        absl::StrCat("windows hold each pixel more than ", kMaxCopies, " times, expected fewer"));
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<Step>> Make(const ConvolutionSpec& spec, int residual, WeightCache& cache) {
  ASSIGN_OR_RETURN(Pointwise kernel, MakePointwise(spec, cache));
  return std::make_unique<WindowsStep>(Windows::Of(spec), std::move(kernel), residual);
}

}  // namespace

absl::StatusOr<StepMaker> TakeWindows(const ConvolutionSpec& spec, int residual, WeightCache& cache) {
  RETURN_IF_ERROR(CheckPointwiseTypes(spec));
  RETURN_IF_ERROR(CheckWindows(spec));
  RETURN_IF_ERROR(CheckSpeed(spec));
  return [spec, residual, &cache] { return Make(spec, residual, cache); };
}

}  // namespace hachi
