// Poolings (up to ONNX opset 22): the elements under a window, or those of a whole channel, become one. A
// member is a row of kPoolings.
#include <algorithm>
#include <cmath>
#include <limits>

#include "absl/strings/str_cat.h"
#include "engine/base/status_macros.h"
#include "engine/kernels/avgpool.h"
#include "engine/kernels/maxpool.h"
#include "engine/onednn/pooling.h"
#include "engine/ops/family.h"
#include "engine/ops/infer.h"
#include "engine/ops/onednn_step.h"
#include "engine/ops/op.h"
#include "engine/ops/quantized.h"
#include "engine/ops/take.h"
#include "engine/ops/window.h"

namespace hachi {
namespace {

// How elements become one. `p` is the attribute of that name.
struct Fold {
  double start;
  double (*add)(double sum, double x, int64_t p);
  double (*finish)(double sum, int64_t count, int64_t p);  // `count`: of the elements
};

constexpr Fold kMean = {0, [](double sum, double x, int64_t /*p*/) { return sum + x; },
                        [](double sum, int64_t count, int64_t /*p*/) {
                          return count == 0 ? 0.0 : sum / static_cast<double>(count);
                        }};
constexpr Fold kNorm = {
    0, [](double sum, double x, int64_t p) { return sum + std::pow(std::abs(x), static_cast<double>(p)); },
    [](double sum, int64_t /*count*/, int64_t p) { return std::pow(sum, 1.0 / static_cast<double>(p)); }};
constexpr Fold kLargest = {-std::numeric_limits<double>::infinity(),
                           [](double sum, double x, int64_t /*p*/) { return std::max(sum, x); },
                           [](double sum, int64_t /*count*/, int64_t /*p*/) { return sum; }};

struct Pooling {
  std::string_view name;
  bool global;  // the window is the whole channel
  Fold fold;
  QuantRule quantize = QuantRule::kNone;
  std::optional<PoolingSpec::Kind> library = {};  // the averages: where padding does not count

  bool averages_channels() const { return global && library == PoolingSpec::Kind::kAverageWithoutPadding; }
};

absl::Status CheckType(const Pooling& pooling, const Node& node) {
  if (pooling.quantize == QuantRule::kRescale) return CheckReal(node, 0);
  if (pooling.quantize == QuantRule::kNone) return CheckInputType(node, 0, {DType::kF32});
  return CheckInputType(node, 0, {DType::kF32, DType::kU8, DType::kS8});
}

absl::Status Infer(const Pooling& pooling, Node& node) {
  const bool wants_places = node.outputs.size() == 2 && pooling.name == "MaxPool";
  if (node.outputs.size() != 1 && !wants_places)
    return absl::InvalidArgumentError(absl::StrCat(node.outputs.size(), " outputs, expected 1"));
  RETURN_IF_ERROR(CheckInputCount(node, 1, 1));
  RETURN_IF_ERROR(CheckType(pooling, node));
  RETURN_IF_ERROR(CheckRank(node, 0, 3, 5));
  RETURN_IF_ERROR(node.Int("count_include_pad", 0).status());
  ASSIGN_OR_RETURN(const int64_t p, node.Int("p", 2));
  if (p < 1) return absl::InvalidArgumentError(absl::StrCat("p is ", p, ", expected 1 or more"));
  const SymbolicShape& input = *node.inputs[0]->dims;
  SymbolicShape dims(input.size() - 2, Dim(1));
  if (!pooling.global) {
    ASSIGN_OR_RETURN(const Window window, Window::Read(node, dims.size(), {}));
    ASSIGN_OR_RETURN(dims, window.OutputDims(std::span<const Dim>(input).subspan(2)));
  }
  dims.insert(dims.begin(), {input[0], input[1]});
  Value& output = *node.outputs[0];
  output.dtype = pooling.quantize == QuantRule::kKeepScale ? node.inputs[0]->dtype : RealType(output);
  if (pooling.quantize == QuantRule::kKeepScale) output.quant = node.inputs[0]->quant;
  output.dims = dims;
  if (wants_places) {
    node.outputs[1]->dtype = DType::kS64;
    node.outputs[1]->dims = std::move(dims);
  }
  return absl::OkStatus();
}

// A flat index of a tensor, counted with the last axis but one innermost where storage_order is 1.
int64_t PlaceOf(int64_t flat, std::span<const int64_t> shape, bool column_major) {
  if (!column_major) return flat;
  int64_t place = 0, stride = 1, pixels = 1;
  for (size_t axis = 2; axis < shape.size(); ++axis) pixels *= shape[axis];
  AxisNumbers at(shape.size());
  int64_t rest = flat % pixels;
  for (size_t axis = shape.size(); axis-- > 2; rest /= shape[axis]) at[axis] = rest % shape[axis];
  for (size_t axis = 2; axis < shape.size(); stride *= shape[axis++]) place += at[axis] * stride;
  return flat - flat % pixels + place;
}

// The window of these sizes, auto_pad and ceil_mode resolved.
struct Windows {
  Window whole;
  Window stated;  // without what ceil_mode reads beyond the padding

  static absl::StatusOr<Windows> Of(const Pooling& pooling, const Node& node, std::span<const int64_t> input,
                                    std::span<const int64_t> output) {
    const size_t axes = input.size() - 2;
    Window window;
    if (pooling.global) {
      window.kernel.assign(input.begin() + 2, input.end());
      window.strides.assign(axes, 1);
      window.dilations.assign(axes, 1);
      window.pads_begin.assign(axes, 0);
      window.pads_end.assign(axes, 0);
    } else {
      ASSIGN_OR_RETURN(window, Window::Read(node, axes, {}));
    }
    Windows windows{window.For(input.subspan(2), output.subspan(2)), {}};
    window.ceil_mode = false;
    windows.stated = window.For(input.subspan(2), output.subspan(2));
    return windows;
  }
};

absl::Status Reference(const Pooling& pooling, const Node& node, std::span<const TensorView> inputs,
                       std::span<Tensor> outputs) {
  const TensorView& x = inputs[0];
  const Shape& shape = outputs[0].shape();
  ASSIGN_OR_RETURN(const Windows windows, Windows::Of(pooling, node, x.shape, shape));
  const Window& window = windows.whole;
  ASSIGN_OR_RETURN(const int64_t count_padding, node.Int("count_include_pad", 0));
  ASSIGN_OR_RETURN(const int64_t p, node.Int("p", 2));
  ASSIGN_OR_RETURN(const int64_t storage_order, node.Int("storage_order", 0));
  // Order is that of the stored integers: the scale is positive.
  const std::optional<QuantParams> stored;
  const bool keeps = pooling.quantize == QuantRule::kKeepScale;
  const auto& from = keeps ? stored : node.inputs[0]->quant;
  const auto& to = keeps ? stored : node.outputs[0]->quant;
  for (int64_t i = 0; i < outputs[0].count(); ++i) {
    double sum = pooling.fold.start;
    int64_t count = 0, largest = -1;  // `largest`: the place of the first of the largest elements
    for (int64_t tap = 0; tap < CountOf(window.kernel); ++tap) {
      int64_t rest = tap, plane = i, at = 0, stride = 1;
      bool inside = true, counted = count_padding != 0;
      for (size_t axis = window.kernel.size(); axis-- > 0;) {
        const int64_t size = x.shape[axis + 2];
        const int64_t position = plane % shape[axis + 2] * window.strides[axis] - window.pads_begin[axis] +
                                 rest % window.kernel[axis] * window.dilations[axis];
        inside = inside && position >= 0 && position < size;
        counted = counted && position < size + windows.stated.pads_end[axis];
        at += position * stride;
        stride *= size;
        rest /= window.kernel[axis];
        plane /= shape[axis + 2];
      }
      if (inside) {
        const double element = static_cast<double>(RealAt(x, plane * stride + at, from));
        if (largest < 0 || element > sum) largest = plane * stride + at;
        sum = pooling.fold.add(sum, element, p);
      }
      count += inside || counted;
    }
    const auto result = static_cast<float>(pooling.fold.finish(sum, count, p));
    StoreReal(outputs[0], i, ApplyPostOps(node, inputs, i, result), to);
    if (outputs.size() > 1) outputs[1].As<int64_t>()[i] = PlaceOf(largest, x.shape, storage_order != 0);
  }
  return absl::OkStatus();
}

absl::StatusOr<StepMaker> TakeInLibrary(const Pooling& pooling, const LowerContext& context) {
  using Kind = PoolingSpec::Kind;
  RETURN_IF_ERROR(CheckNothingFused(context.node));
  if (context.node.outputs.size() > 1)
    return absl::UnimplementedError("the places of the maxima are asked for, expected the maxima alone");
  PoolingSpec spec{*pooling.library, context.Input(0), context.Output()};
  ASSIGN_OR_RETURN(const Windows windows, Windows::Of(pooling, context.node, spec.src.shape, spec.dst.shape));
  ASSIGN_OR_RETURN(const int64_t count_padding, context.node.Int("count_include_pad", 0));
  if (spec.kind == Kind::kAverageWithoutPadding && count_padding != 0) {
    if (windows.stated.pads_end != windows.whole.pads_end)
      return absl::UnimplementedError("counting padding has no kernel where ceil_mode reads beyond it");
    spec.kind = Kind::kAverageWithPadding;
  }
  // One pixel a channel is the same in either layout.
  if (spec.dst.layout.SameBytes(spec.src.layout, spec.dst.shape)) spec.dst.layout = spec.src.layout;
  spec.kernel = windows.whole.kernel;
  spec.strides = windows.whole.strides;
  spec.dilations = windows.whole.dilations;
  spec.pads_begin = windows.whole.pads_begin;
  spec.pads_end = windows.whole.pads_end;
  return TakePrimitive(FindPooling(spec), {});
}

constexpr int64_t kMaxPixels = int64_t{1} << 23;  // whose sum fits 32 bits

class AveragePixels final : public KernelStep {
 public:
  AveragePixels(AvgPoolSpec spec, int64_t rows) : spec_(std::move(spec)), rows_(rows) {}

 protected:
  absl::Status Run(const StepBuffers& buffers) const override {
    GlobalAveragePool(spec_, rows_, buffers.inputs[0], buffers.outputs[0]);
    return absl::OkStatus();
  }

 private:
  const AvgPoolSpec spec_;
  const int64_t rows_;
};

absl::StatusOr<StepMaker> TakeAveragePixels(const LowerContext& context) {
  RETURN_IF_ERROR(CheckNothingFused(context.node));
  const TensorSpec src = context.Input(0), dst = context.Output();
  const int64_t pixels = CountOf(std::span(src.shape).subspan(2));
  if (!src.quant) return absl::UnimplementedError("input is f32, expected u8 or s8");
  // The mean is [N, C] in any layout that keeps N outermost.
  if (!src.layout.SameBytes(Layout::ChannelsLast(src.shape.size()), src.shape) ||
      !dst.layout.SameBytes(Layout(), dst.shape))
    return absl::UnimplementedError(
        absl::StrCat("input is ", src.layout.ToText(), ", expected channels_last"));
  if (pixels > kMaxPixels)
    return absl::UnimplementedError(
        absl::StrCat("a channel has ", pixels, " pixels, expected at most ", kMaxPixels));
  AvgPoolSpec spec{.pixels = pixels, .channels = src.shape[1], .from = src.dtype, .to = dst.dtype};
  spec.from_quant = *src.quant;
  if (dst.quant) spec.to_quant = *dst.quant;
  return
      [spec = std::move(spec), rows = src.shape[0]] { return std::make_unique<AveragePixels>(spec, rows); };
}

class LargestBytes final : public KernelStep {
 public:
  LargestBytes(const MaxPoolSpec& spec, int64_t images) : spec_(spec), images_(images) {}

 protected:
  absl::Status Run(const StepBuffers& buffers) const override {
    MaxPool(spec_, buffers.inputs[0], images_, buffers.outputs[0]);
    return absl::OkStatus();
  }

 private:
  const MaxPoolSpec spec_;
  const int64_t images_;
};

absl::StatusOr<StepMaker> TakeLargestBytes(const Pooling& pooling, const LowerContext& context) {
  RETURN_IF_ERROR(CheckNothingFused(context.node));
  if (context.node.outputs.size() > 1)
    return absl::UnimplementedError("the places of the maxima are asked for, expected the maxima alone");
  const TensorSpec src = context.Input(0), dst = context.Output();
  const size_t rank = src.shape.size();
  if (rank > 4) return absl::UnimplementedError(absl::StrCat("rank is ", rank, ", expected at most 4"));
  if (src.dtype != DType::kU8 && src.dtype != DType::kS8)
    return absl::UnimplementedError(
        absl::StrCat("input is ", std::string(NameOf(src.dtype)), ", expected u8 or s8"));
  for (const TensorSpec& tensor : {src, dst})
    if (!tensor.layout.SameBytes(Layout::ChannelsLast(rank), tensor.shape))
      return absl::UnimplementedError(
          absl::StrCat("a layout is ", tensor.layout.ToText(), ", expected channels_last"));
  ASSIGN_OR_RETURN(const Windows windows, Windows::Of(pooling, context.node, src.shape, dst.shape));
  const Window& window = windows.whole;
  const auto in = Three(std::span(src.shape).subspan(2), 1), out = Three(std::span(dst.shape).subspan(2), 1),
             kernel = Three(window.kernel, 1), stride = Three(window.strides, 1),
             dilation = Three(window.dilations, 1), pad = Three(window.pads_begin, 0);
  const MaxPoolSpec spec{.height = in[1],
                         .width = in[2],
                         .channels = src.shape[1],
                         .out_height = out[1],
                         .out_width = out[2],
                         .kernel_y = kernel[1],
                         .kernel_x = kernel[2],
                         .stride_y = stride[1],
                         .stride_x = stride[2],
                         .dilation_y = dilation[1],
                         .dilation_x = dilation[2],
                         .pad_top = pad[1],
                         .pad_left = pad[2],
                         .type = src.dtype};
  return [spec, images = src.shape[0]] { return std::make_unique<LargestBytes>(spec, images); };
}

constexpr auto kAverage = PoolingSpec::Kind::kAverageWithoutPadding;
constexpr auto kMax = PoolingSpec::Kind::kMax;

constexpr Pooling kPoolings[] = {
    {"AveragePool", /*global=*/false, kMean, QuantRule::kRescale, kAverage},
    {"GlobalAveragePool", /*global=*/true, kMean, QuantRule::kRescale, kAverage},
    {"GlobalLpPool", /*global=*/true, kNorm},
    {"GlobalMaxPool", /*global=*/true, kLargest, QuantRule::kKeepScale, kMax},
    {"LpPool", /*global=*/false, kNorm},
    {"MaxPool", /*global=*/false, kLargest, QuantRule::kKeepScale, kMax},
};

OpDef DefOf(const Pooling& pooling) {
  std::vector<Offer> offers;
  if (pooling.averages_channels())
    offers.push_back({.name = "hachi_average_pixels", .take = TakeAveragePixels});
  if (pooling.library == kMax)
    offers.push_back(
        {.name = "hachi_max_pool",
         .needs = Isa::kAvx512Vnni,
         .take = [&pooling](const LowerContext& context) { return TakeLargestBytes(pooling, context); }});
  if (pooling.library)
    offers.push_back({.name = "onednn", .take = [&pooling](const LowerContext& context) {
                        return TakeInLibrary(pooling, context);
                      }});
  return {.name = pooling.name,
          .infer = [&pooling](Node& node) { return Infer(pooling, node); },
          .quantize = pooling.quantize,
          .rows = RowsOfBatchAxis,
          .reference = [&pooling](
                           const Node& node, std::span<const TensorView> inputs,
                           std::span<Tensor> outputs) { return Reference(pooling, node, inputs, outputs); },
          .offers = std::move(offers),
          .channels_last = pooling.library.has_value()};
}

}  // namespace

std::span<const OpDef> pool_ops() {
  static const std::vector<OpDef> defs = OpsOf(kPoolings, DefOf);
  return defs;
}

}  // namespace hachi
