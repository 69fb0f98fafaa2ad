// What reads pixels at computed places, or puts them there: GridSample (ONNX opset 20), RoiAlign (opset 16),
// MaxUnpool (opset 11), ReverseSequence (opset 10); and Det (opset 11).
#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "absl/strings/str_cat.h"
#include "engine/base/status_macros.h"
#include "engine/cpu/team.h"
#include "engine/ops/function_step.h"
#include "engine/ops/infer.h"
#include "engine/ops/op.h"
#include "engine/ops/quantized.h"
#include "engine/ops/take.h"

namespace hachi {
namespace {

absl::Status CheckOneOf(std::string_view attr, const std::string& found,
                        std::span<const std::string_view> names) {
  if (std::ranges::find(names, found) != names.end()) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat(std::string(attr), " is '", found, "', expected one of ONNX's"));
}

// ---- GridSample

struct GridRule {
  std::string mode, padding;
  bool align;
};

absl::StatusOr<GridRule> GridRuleOf(const Node& node) {
  GridRule rule;
  ASSIGN_OR_RETURN(rule.mode, node.String("mode", "linear"));
  ASSIGN_OR_RETURN(rule.padding, node.String("padding_mode", "zeros"));
  ASSIGN_OR_RETURN(const int64_t align, node.Int("align_corners", 0));
  rule.align = align != 0;
  constexpr std::string_view kModes[] = {"linear", "nearest", "cubic"},
                             kPaddings[] = {"zeros", "border", "reflection"};
  RETURN_IF_ERROR(CheckOneOf("mode", rule.mode, kModes));
  RETURN_IF_ERROR(CheckOneOf("padding_mode", rule.padding, kPaddings));
  return rule;
}

absl::Status InferGridSample(Node& node) {
  RETURN_IF_ERROR(CheckInputCount(node, 2, 2));
  for (size_t i = 0; i < 2; ++i) RETURN_IF_ERROR(CheckInputType(node, i, {DType::kF32}));
  RETURN_IF_ERROR(CheckRank(node, 0, 4, 5));
  const SymbolicShape &x = *node.inputs[0]->dims, &grid = *node.inputs[1]->dims;
  RETURN_IF_ERROR(GridRuleOf(node).status());
  if (grid.size() != x.size() || grid[0] != x[0] || grid.back() != Dim(static_cast<int64_t>(x.size()) - 2))
    return absl::InvalidArgumentError(
        absl::StrCat("grid has shape ", ShapeText(grid), ", expected places in ", ShapeText(x)));
  SymbolicShape dims{x[0], x[1]};
  dims.insert(dims.end(), grid.begin() + 1, grid.end() - 1);
  return SetOutput(node, DType::kF32, std::move(dims));
}

// `at` brought back between `low` and `high` as a ball between walls.
double Reflected(double at, double low, double high) {
  if (high <= low) return low;
  const double span = high - low;
  double into = std::fmod(std::abs(at - low), 2 * span);
  return low + (into > span ? 2 * span - into : into);
}

struct GridTap {
  int64_t index;  // -1: a zero
  double weight;
};

// A few taps, without memory of their own.
template <size_t kMost>
class TapList {
 public:
  TapList(std::initializer_list<GridTap> taps) : size_(taps.size()) {
    std::ranges::copy(taps, taps_.begin());
  }
  void push_back(GridTap tap) { taps_[size_++] = tap; }  // REQUIRES: there is room
  const GridTap* begin() const { return taps_.data(); }
  const GridTap* end() const { return taps_.data() + size_; }

 private:
  std::array<GridTap, kMost> taps_;
  size_t size_;
};

// What one coordinate of the grid, from -1 to 1, reads of an axis.
TapList<4> GridTaps(const GridRule& rule, double coordinate, int64_t size) {
  const auto length = static_cast<double>(size);
  double place = rule.align ? (coordinate + 1) / 2 * (length - 1) : ((coordinate + 1) * length - 1) / 2;
  const double low = rule.align ? 0 : -0.5, high = rule.align ? length - 1 : length - 0.5;
  const auto resolve = [&](int64_t i) -> int64_t {
    if (i >= 0 && i < size) return i;
    if (rule.padding == "zeros") return -1;
    if (rule.padding == "border") return std::clamp<int64_t>(i, 0, size - 1);
    return std::clamp<int64_t>(
        static_cast<int64_t>(std::nearbyint(Reflected(static_cast<double>(i), low, high))), 0, size - 1);
  };
  if (!std::isfinite(place)) return {{resolve(-1), 1.0}};
  if (rule.mode != "cubic") {
    if (rule.padding == "border") place = std::clamp(place, 0.0, length - 1);
    if (rule.padding == "reflection") place = std::clamp(Reflected(place, low, high), 0.0, length - 1);
  }
  place = std::clamp(place, -1e9, 1e9);
  if (rule.mode == "nearest") return {{resolve(static_cast<int64_t>(std::nearbyint(place))), 1.0}};
  const double floor = std::floor(place), rest = place - floor;
  const auto first = static_cast<int64_t>(floor);
  if (rule.mode == "linear") return {{resolve(first), 1 - rest}, {resolve(first + 1), rest}};
  constexpr double kA = -0.75;
  const auto near = [](double x) { return ((kA + 2) * x - (kA + 3)) * x * x + 1; };
  const auto far = [](double x) { return ((kA * x - 5 * kA) * x + 8 * kA) * x - 4 * kA; };
  return {{resolve(first - 1), far(rest + 1)},
          {resolve(first), near(rest)},
          {resolve(first + 1), near(1 - rest)},
          {resolve(first + 2), far(2 - rest)}};
}

// What a place of the grid, with one coordinate for each of the pixels' axes, the last first, reads of a
// plane.
TapList<64> PlaceTaps(const GridRule& rule, std::span<const int64_t> pixels, const float* place) {
  TapList<64> taps{{0, 1.0}};
  for (size_t axis = 0; axis < pixels.size(); ++axis) {
    const auto own = GridTaps(rule, static_cast<double>(place[pixels.size() - 1 - axis]), pixels[axis]);
    TapList<64> more{};
    for (const GridTap& outer : taps)
      for (const GridTap& inner : own)
        more.push_back({outer.index < 0 || inner.index < 0 ? -1 : outer.index * pixels[axis] + inner.index,
                        outer.weight * inner.weight});
    taps = more;
  }
  return taps;
}

absl::Status GridSample(const Node& node, std::span<const TensorView> inputs, std::span<Tensor> outputs) {
  ASSIGN_OR_RETURN(const GridRule rule, GridRuleOf(node));
  const TensorView& x = inputs[0];
  const auto axes = x.shape.subspan(2);
  const int64_t pixels = CountOf(axes), places = CountOf(std::span(outputs[0].shape()).subspan(2));
  const int64_t channels = x.shape[1];
  for (int64_t i = 0; i < x.shape[0] * places; ++i) {
    const auto taps = PlaceTaps(rule, axes, inputs[1].As<float>().data() + i * std::ssize(axes));
    const int64_t plane = i / places * channels;
    for (int64_t c = 0; c < channels; ++c) {
      double sum = 0;
      for (const GridTap& tap : taps)
        if (tap.index >= 0)
          sum += tap.weight * static_cast<double>(x.As<float>()[(plane + c) * pixels + tap.index]);
      outputs[0].As<float>()[(plane + c) * places + i % places] = static_cast<float>(sum);
    }
  }
  return absl::OkStatus();
}

// Taps are found once for all channels, of a block of places, then each plane is read for the whole block.
absl::StatusOr<StepMaker> TakeGridSample(const LowerContext& context) {
  for (const Value* value : {context.node.inputs[0], context.node.inputs[1], context.node.outputs[0]})
    RETURN_IF_ERROR(CheckRowMajor(context, value));
  ASSIGN_OR_RETURN(GridRule rule, GridRuleOf(context.node));
  const TensorSpec src = context.Input(0), dst = context.Output();
  const Shape axes(src.shape.begin() + 2, src.shape.end());
  const int64_t pixels = CountOf(axes), places = CountOf(std::span(dst.shape).subspan(2)),
                channels = src.shape[1], width = std::ssize(axes);
  constexpr int64_t kBlock = 32;
  const int64_t blocks = (places + kBlock - 1) / kBlock;
  return MakeStep([=, rule = std::move(rule), batch = src.shape[0]](const StepBuffers& buffers) {
    const auto* in = reinterpret_cast<const float*>(buffers.inputs[0]);
    const auto* grid = reinterpret_cast<const float*>(buffers.inputs[1]);
    auto* out = reinterpret_cast<float*>(buffers.outputs[0]);
    ParallelFor(batch * blocks, 1, [&](int64_t begin, int64_t end) {
      struct Tap {
        int64_t index;
        float weight;
      };
      std::array<Tap, kBlock * 64> taps;         // of the block's places, one behind the other
      std::array<size_t, kBlock + 1> ends = {};  // where each place's begin
      for (int64_t i = begin; i < end; ++i) {
        const int64_t n = i / blocks, first = i % blocks * kBlock, count = std::min(kBlock, places - first);
        size_t found = 0;
        for (int64_t p = 0; p < count; ++p) {
          for (const GridTap& tap : PlaceTaps(rule, axes, grid + (n * places + first + p) * width))
            if (tap.index >= 0) taps[found++] = {tap.index, static_cast<float>(tap.weight)};
          ends[static_cast<size_t>(p) + 1] = found;
        }
        for (int64_t c = n * channels; c < (n + 1) * channels; ++c)
          for (int64_t p = 0; p < count; ++p) {
            float sum = 0;
            for (size_t t = ends[static_cast<size_t>(p)]; t < ends[static_cast<size_t>(p) + 1]; ++t)
              sum += taps[t].weight * in[c * pixels + taps[t].index];
            out[c * places + first + p] = sum;
          }
      }
    });
  });
}

absl::StatusOr<RowAxis> RowsOfBatches(const RowQuery& query) {
  for (const RowAxis& rows : query.inputs)
    if (rows != RowAxis(0))
      return absl::UnimplementedError("not every input holds rows in axis 0, expected all to");
  return RowAxis(0);
}

// ---- RoiAlign

struct RoiRule {
  int64_t height, width, samples;
  float scale;
  bool half_pixel, max;
};

absl::StatusOr<RoiRule> RoiRuleOf(const Node& node) {
  RoiRule rule{};
  ASSIGN_OR_RETURN(rule.height, node.Int("output_height", 1));
  ASSIGN_OR_RETURN(rule.width, node.Int("output_width", 1));
  ASSIGN_OR_RETURN(rule.samples, node.Int("sampling_ratio", 0));
  ASSIGN_OR_RETURN(rule.scale, node.Float("spatial_scale", 1.0f));
  ASSIGN_OR_RETURN(const std::string mode, node.String("mode", "avg"));
  ASSIGN_OR_RETURN(const std::string coordinates,
                   node.String("coordinate_transformation_mode", "half_pixel"));
  constexpr std::string_view kModes[] = {"avg", "max"}, kCoordinates[] = {"half_pixel", "output_half_pixel"};
  RETURN_IF_ERROR(CheckOneOf("mode", mode, kModes));
  RETURN_IF_ERROR(CheckOneOf("coordinate_transformation_mode", coordinates, kCoordinates));
  if (rule.height < 1 || rule.width < 1 || rule.height > 1024 || rule.width > 1024 || rule.samples < 0 ||
      rule.samples > 1024)
    return absl::InvalidArgumentError(
        "output_height, output_width or sampling_ratio is beyond 1024 or below 1");
  rule.half_pixel = coordinates == "half_pixel";
  rule.max = mode == "max";
  return rule;
}

absl::Status InferRoiAlign(Node& node) {
  RETURN_IF_ERROR(CheckInputCount(node, 3, 3));
  RETURN_IF_ERROR(CheckInputType(node, 0, {DType::kF32}));
  RETURN_IF_ERROR(CheckInputType(node, 1, {DType::kF32}));
  RETURN_IF_ERROR(CheckInputType(node, 2, {DType::kS64}));
  RETURN_IF_ERROR(CheckRank(node, 0, 4, 4));
  RETURN_IF_ERROR(CheckRank(node, 1, 2, 2));
  RETURN_IF_ERROR(CheckRank(node, 2, 1, 1));
  ASSIGN_OR_RETURN(const RoiRule rule, RoiRuleOf(node));
  const SymbolicShape& rois = *node.inputs[1]->dims;
  if (rois[1] != Dim(4)) return absl::InvalidArgumentError("regions have not 4 coordinates, expected that");
  return SetOutput(node, DType::kF32,
                   {rois[0], (*node.inputs[0]->dims)[1], Dim(rule.height), Dim(rule.width)});
}

// One region's bins, and the samples in each.
struct Roi {
  double left, top, bin_width, bin_height;
  int64_t rows, columns;

  Roi(const RoiRule& rule, const float* corners) {
    const auto corner = [&](int64_t i) {
      return static_cast<double>(corners[i]) * static_cast<double>(rule.scale) - (rule.half_pixel ? 0.5 : 0);
    };
    left = corner(0);
    top = corner(1);
    const double least = rule.half_pixel ? -std::numeric_limits<double>::infinity() : 1.0;
    bin_width = std::max(corner(2) - left, least) / static_cast<double>(rule.width);
    bin_height = std::max(corner(3) - top, least) / static_cast<double>(rule.height);
    rows = SamplesOf(rule, bin_height);
    columns = SamplesOf(rule, bin_width);
  }

  static int64_t SamplesOf(const RoiRule& rule, double bin) {
    if (rule.samples > 0) return rule.samples;
    return std::isfinite(bin) ? static_cast<int64_t>(std::clamp(std::ceil(bin), 0.0, 1024.0)) : 1;
  }
};

// The four pixels of a plane around a sample, and their weights; `inside`: there are some.
struct Corners {
  bool inside;
  std::array<int64_t, 4> at = {};
  std::array<double, 4> weight = {};

  Corners(double y, double x, int64_t height, int64_t width)
      : inside(y >= -1 && x >= -1 && y <= static_cast<double>(height) && x <= static_cast<double>(width)) {
    if (!inside) return;
    y = std::clamp(y, 0.0, static_cast<double>(height - 1));
    x = std::clamp(x, 0.0, static_cast<double>(width - 1));
    const auto y0 = static_cast<int64_t>(y), x0 = static_cast<int64_t>(x);
    const int64_t y1 = std::min(y0 + 1, height - 1), x1 = std::min(x0 + 1, width - 1);
    const double wy = y - static_cast<double>(y0), wx = x - static_cast<double>(x0);
    at = {y0 * width + x0, y0 * width + x1, y1 * width + x0, y1 * width + x1};
    weight = {(1 - wy) * (1 - wx), (1 - wy) * wx, wy * (1 - wx), wy * wx};
  }
};

// Pools the bin (py, px) of `planes` neighbours at once, whose pixels begin at `in` (null: outside of every
// image); put(plane, result). Real is what sums are held in.
template <typename Real, size_t kMost, typename Put>
void PoolBin(const RoiRule& rule, const Roi& roi, int64_t py, int64_t px, const float* in, int64_t height,
             int64_t width, size_t planes, const Put& put) {
  std::array<Real, kMost> sums{}, largest;
  largest.fill(-std::numeric_limits<Real>::infinity());
  for (int64_t sy = 0; sy < roi.rows; ++sy)
    for (int64_t sx = 0; sx < roi.columns; ++sx) {
      const auto place = [](double begin, int64_t bin, int64_t sample, int64_t samples, double size) {
        return begin + static_cast<double>(bin) * size +
               (static_cast<double>(sample) + 0.5) * size / static_cast<double>(samples);
      };
      const Corners corners(place(roi.top, py, sy, roi.rows, roi.bin_height),
                            place(roi.left, px, sx, roi.columns, roi.bin_width), height, width);
      for (size_t p = 0; p < planes; ++p) {
        Real sum = 0, most = 0;  // of weighted corners, as ONNX Runtime has it
        if (corners.inside && in != nullptr) {
          const float* plane = in + static_cast<int64_t>(p) * height * width;
          most = -std::numeric_limits<Real>::infinity();
          for (size_t k = 0; k < 4; ++k) {
            const Real term = static_cast<Real>(corners.weight[k]) * static_cast<Real>(plane[corners.at[k]]);
            sum += term;
            most = std::max(most, term);
          }
        }
        sums[p] += sum;
        largest[p] = std::max(largest[p], most);
      }
    }
  const int64_t samples = roi.rows * roi.columns;
  for (size_t p = 0; p < planes; ++p)
    put(p, !rule.max      ? sums[p] / static_cast<Real>(std::max<int64_t>(samples, 1))
           : samples == 0 ? Real{0}
                          : largest[p]);
}

absl::Status RoiAlign(const Node& node, std::span<const TensorView> inputs, std::span<Tensor> outputs) {
  ASSIGN_OR_RETURN(const RoiRule rule, RoiRuleOf(node));
  const TensorView& x = inputs[0];
  const int64_t channels = x.shape[1], height = x.shape[2], width = x.shape[3];
  auto out = outputs[0].As<float>().begin();
  for (int64_t r = 0; r < inputs[1].shape[0]; ++r) {
    const Roi roi(rule, inputs[1].As<float>().data() + 4 * r);
    const int64_t image = inputs[2].As<int64_t>()[r];
    const bool known = image >= 0 && image < x.shape[0];
    for (int64_t c = 0; c < channels; ++c)
      for (int64_t bin = 0; bin < rule.height * rule.width; ++bin, ++out)
        PoolBin<double, 1>(rule, roi, bin / rule.width, bin % rule.width,
                           known ? x.As<float>().data() + (image * channels + c) * height * width : nullptr,
                           height, width, 1, [&](size_t, double v) { *out = static_cast<float>(v); });
  }
  return absl::OkStatus();
}

// Some channels of a region at a time: they share the places of its samples.
absl::StatusOr<StepMaker> TakeRoiAlign(const LowerContext& context) {
  for (const Value* value : {context.node.inputs[0], context.node.inputs[1], context.node.outputs[0]})
    RETURN_IF_ERROR(CheckRowMajor(context, value));
  ASSIGN_OR_RETURN(const RoiRule rule, RoiRuleOf(context.node));
  const TensorSpec src = context.Input(0);
  constexpr int64_t kPlanes = 16;
  const int64_t channels = src.shape[1], blocks = (channels + kPlanes - 1) / kPlanes;
  return MakeStep([=, images = src.shape[0], height = src.shape[2], width = src.shape[3],
                   regions = context.Input(1).shape[0]](const StepBuffers& buffers) {
    const auto* in = reinterpret_cast<const float*>(buffers.inputs[0]);
    const auto* corners = reinterpret_cast<const float*>(buffers.inputs[1]);
    const auto* picked = reinterpret_cast<const int64_t*>(buffers.inputs[2]);
    auto* out = reinterpret_cast<float*>(buffers.outputs[0]);
    const int64_t bins = rule.height * rule.width;
    ParallelFor(regions * blocks, 1, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        const int64_t r = i / blocks, first = i % blocks * kPlanes, image = picked[r];
        const auto planes = static_cast<size_t>(std::min(kPlanes, channels - first));
        const Roi roi(rule, corners + 4 * r);
        const bool known = image >= 0 && image < images;
        float* to = out + (r * channels + first) * bins;
        for (int64_t bin = 0; bin < bins; ++bin)
          PoolBin<float, kPlanes>(rule, roi, bin / rule.width, bin % rule.width,
                                  known ? in + (image * channels + first) * height * width : nullptr, height,
                                  width, planes,
                                  [&](size_t p, float v) { to[static_cast<int64_t>(p) * bins + bin] = v; });
      }
    });
  });
}

// ---- MaxUnpool

absl::Status InferMaxUnpool(Node& node) {
  RETURN_IF_ERROR(CheckInputCount(node, 2, 3));
  RETURN_IF_ERROR(CheckInputType(node, 0, {DType::kF32}));
  RETURN_IF_ERROR(CheckInputType(node, 1, {DType::kS64}));
  RETURN_IF_ERROR(CheckRank(node, 0, 3, 12));
  const SymbolicShape& x = *node.inputs[0]->dims;
  if (*node.inputs[1]->dims != x)
    return absl::InvalidArgumentError(
        absl::StrCat("indices have shape ", ShapeText(*node.inputs[1]->dims), ", expected ", ShapeText(x)));
  if (node.input(2) != nullptr) {
    ASSIGN_OR_RETURN(const AxisNumbers shape, KnownInts(node, 2, "output_shape"));
    if (shape.size() != x.size())
      return absl::InvalidArgumentError("output_shape has another rank than the input");
    return SetOutput(node, DType::kF32, SymbolicShape(shape.begin(), shape.end()));
  }
  const size_t axes = x.size() - 2;
  ASSIGN_OR_RETURN(const AxisNumbers kernel, node.Ints("kernel_shape", {}));
  ASSIGN_OR_RETURN(const AxisNumbers strides, node.Ints("strides", AxisNumbers(axes, 1)));
  ASSIGN_OR_RETURN(const AxisNumbers pads, node.Ints("pads", AxisNumbers(2 * axes, 0)));
  if (kernel.size() != axes || strides.size() != axes || pads.size() != 2 * axes)
    return absl::InvalidArgumentError("kernel_shape, strides or pads do not fit the input's rank");
  SymbolicShape dims{x[0], x[1]};
  for (size_t i = 0; i < axes; ++i)
    dims.push_back((x[i + 2] - 1) * Dim(strides[i]) + Dim(kernel[i] - pads[i] - pads[i + axes]));
  return SetOutput(node, DType::kF32, std::move(dims));
}

// Indices count in the tensor that was pooled, which is smaller where output_shape says so.
absl::Status MaxUnpool(const Node& node, std::span<const TensorView> inputs, std::span<Tensor> outputs) {
  const size_t axes = inputs[0].shape.size() - 2;
  ASSIGN_OR_RETURN(const AxisNumbers kernel, node.Ints("kernel_shape", {}));
  ASSIGN_OR_RETURN(const AxisNumbers strides, node.Ints("strides", AxisNumbers(axes, 1)));
  ASSIGN_OR_RETURN(const AxisNumbers pads, node.Ints("pads", AxisNumbers(2 * axes, 0)));
  Shape pooled(inputs[0].shape.begin(), inputs[0].shape.end());
  for (size_t i = 0; i < axes; ++i)
    pooled[i + 2] = (pooled[i + 2] - 1) * strides[i] + kernel[i] - pads[i] - pads[i + axes];
  std::ranges::fill(outputs[0].As<float>(), 0.0f);
  for (int64_t i = 0; i < inputs[0].count(); ++i) {
    int64_t rest = inputs[1].As<int64_t>()[i], at = 0, stride = 1;
    bool inside = rest >= 0 && rest < CountOf(pooled);
    for (size_t axis = pooled.size(); inside && axis-- > 0; rest /= pooled[axis]) {
      const int64_t index = rest % pooled[axis];
      inside = index < outputs[0].shape()[axis];
      at += index * stride;
      stride *= outputs[0].shape()[axis];
    }
    if (inside) outputs[0].As<float>()[at] = inputs[0].As<float>()[i];
  }
  return absl::OkStatus();
}

// ---- ReverseSequence

absl::StatusOr<std::pair<size_t, size_t>> SequenceAxes(const Node& node) {  // of the batch and of time
  ASSIGN_OR_RETURN(const int64_t batch, node.Int("batch_axis", 1));
  ASSIGN_OR_RETURN(const int64_t time, node.Int("time_axis", 0));
  if (std::min(batch, time) < 0 || std::max(batch, time) > 1 || batch == time)
    return absl::InvalidArgumentError(
        absl::StrCat("batch_axis is ", batch, " and time_axis ", time, ", expected 0 and 1 or 1 and 0"));
  return std::pair(static_cast<size_t>(batch), static_cast<size_t>(time));
}

absl::Status InferReverseSequence(Node& node) {
  RETURN_IF_ERROR(CheckInputCount(node, 2, 2));
  RETURN_IF_ERROR(CheckRank(node, 0, 2, 12));
  RETURN_IF_ERROR(CheckInputType(node, 1, {DType::kS64}));
  ASSIGN_OR_RETURN(const auto axes, SequenceAxes(node));
  const SymbolicShape& lengths = *node.inputs[1]->dims;
  if (lengths.size() != 1 || lengths[0] != (*node.inputs[0]->dims)[axes.first])
    return absl::InvalidArgumentError(
        "sequence_lens has not one element for each of the batch, expected that");
  return SetOutput(node, node.inputs[0]->dtype, *node.inputs[0]->dims);
}

absl::Status ReverseSequence(const Node& node, std::span<const TensorView> inputs,
                             std::span<Tensor> outputs) {
  ASSIGN_OR_RETURN(const auto axes, SequenceAxes(node));
  const auto shape = inputs[0].shape;
  const int64_t run = CountOf(shape.subspan(2)) * static_cast<int64_t>(SizeOf(inputs[0].dtype));
  for (int64_t i = 0; i < shape[0]; ++i)
    for (int64_t j = 0; j < shape[1]; ++j) {
      const int64_t row = axes.first == 0 ? i : j, step = axes.first == 0 ? j : i;
      const int64_t length = inputs[1].As<int64_t>()[row];
      const int64_t from = step < length && length <= shape[axes.second] ? length - 1 - step : step;
      const int64_t source = axes.first == 0 ? row * shape[1] + from : from * shape[1] + row;
      std::memcpy(outputs[0].bytes().data() + (i * shape[1] + j) * run, inputs[0].bytes + source * run,
                  static_cast<size_t>(run));
    }
  return absl::OkStatus();
}

absl::StatusOr<RowAxis> RowsOfReverseSequence(const RowQuery& query) {
  ASSIGN_OR_RETURN(const auto axes, SequenceAxes(query.node));
  if (query.inputs[0] != RowAxis(axes.first) || query.inputs[1] != RowAxis(0)) return RowsMixed(query);
  return RowAxis(axes.first);
}

// ---- Det

absl::Status InferDet(Node& node) {
  RETURN_IF_ERROR(CheckInputCount(node, 1, 1));
  RETURN_IF_ERROR(CheckInputType(node, 0, {DType::kF32}));
  RETURN_IF_ERROR(CheckRank(node, 0, 2, 12));
  const SymbolicShape& x = *node.inputs[0]->dims;
  if (x.back() != x[x.size() - 2])
    return absl::InvalidArgumentError(absl::StrCat("matrices are ", ShapeText(x), ", expected square ones"));
  return SetOutput(node, DType::kF32, SymbolicShape(x.begin(), x.end() - 2));
}

// By elimination, the largest element of a column first.
absl::Status Det(const Node& /*node*/, std::span<const TensorView> inputs, std::span<Tensor> outputs) {
  const int64_t size = inputs[0].shape.back();
  for (int64_t m = 0; m < outputs[0].count(); ++m) {
    const auto begin = inputs[0].As<float>().begin() + m * size * size;
    std::vector<double> a(begin, begin + size * size);
    double det = 1;
    for (int64_t k = 0; k < size; ++k) {
      int64_t pivot = k;
      for (int64_t i = k + 1; i < size; ++i)
        if (std::abs(a[i * size + k]) > std::abs(a[pivot * size + k])) pivot = i;
      if (pivot != k) {
        std::swap_ranges(a.begin() + k * size, a.begin() + (k + 1) * size, a.begin() + pivot * size);
        det = -det;
      }
      det *= a[k * size + k];
      if (a[k * size + k] == 0) break;
      for (int64_t i = k + 1; i < size; ++i) {
        const double factor = a[i * size + k] / a[k * size + k];
        for (int64_t j = k; j < size; ++j) a[i * size + j] -= factor * a[k * size + j];
      }
    }
    outputs[0].As<float>()[m] = static_cast<float>(det);
  }
  return absl::OkStatus();
}

absl::StatusOr<RowAxis> RowsOfDet(const RowQuery& query) {
  const RowAxis rows = query.inputs[0];
  if (rows && *rows + 2 >= query.node.inputs[0]->rank()) return MixesRows(*rows);
  return rows;
}

}  // namespace

std::span<const OpDef> sampling_ops() {
  static const OpDef defs[] = {
      {.name = "Det", .infer = InferDet, .rows = RowsOfDet, .reference = Det},
      {.name = "GridSample",
       .infer = InferGridSample,
       .rows = RowsOfBatches,
       .reference = GridSample,
       .offers = {{.name = "hachi_grid_sample", .take = TakeGridSample}}},
      {.name = "MaxUnpool", .infer = InferMaxUnpool, .rows = RowsMixed, .reference = MaxUnpool},
      {.name = "ReverseSequence",
       .infer = InferReverseSequence,
       .rows = RowsOfReverseSequence,
       .reference = ReverseSequence},
      {.name = "RoiAlign",
       .infer = InferRoiAlign,
       .rows = RowsMixed,
       .reference = RoiAlign,
       .offers = {{.name = "hachi_roi_align", .take = TakeRoiAlign}}},
  };
  return defs;
}

}  // namespace hachi
