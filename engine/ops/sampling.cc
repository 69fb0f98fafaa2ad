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
#include "engine/ops/infer.h"
#include "engine/ops/op.h"
#include "engine/ops/quantized.h"

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

// What one coordinate of the grid, from -1 to 1, reads of an axis.
std::vector<GridTap> GridTaps(const GridRule& rule, double coordinate, int64_t size) {
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

absl::Status GridSample(const Node& node, std::span<const TensorView> inputs, std::span<Tensor> outputs) {
  ASSIGN_OR_RETURN(const GridRule rule, GridRuleOf(node));
  const TensorView& x = inputs[0];
  const size_t axes = x.shape.size() - 2;
  const int64_t pixels = CountOf(x.shape.subspan(2)),
                places = CountOf(std::span(outputs[0].shape()).subspan(2));
  const int64_t channels = x.shape[1];
  for (int64_t n = 0; n < x.shape[0]; ++n)
    for (int64_t p = 0; p < places; ++p) {
      std::vector<GridTap> taps{{0, 1.0}};
      for (size_t axis = 0; axis < axes; ++axis) {
        // The grid names the last axis first.
        const auto at = static_cast<size_t>(n * places + p) * axes + (axes - 1 - axis);
        std::vector<GridTap> more;
        for (const GridTap& outer : taps)
          for (const GridTap& inner :
               GridTaps(rule, static_cast<double>(inputs[1].As<float>()[at]), x.shape[axis + 2]))
            more.push_back(
                {outer.index < 0 || inner.index < 0 ? -1 : outer.index * x.shape[axis + 2] + inner.index,
                 outer.weight * inner.weight});
        taps = std::move(more);
      }
      for (int64_t c = 0; c < channels; ++c) {
        double sum = 0;
        for (const GridTap& tap : taps)
          if (tap.index >= 0)
            sum += tap.weight * static_cast<double>(x.As<float>()[(n * channels + c) * pixels + tap.index]);
        outputs[0].As<float>()[(n * channels + c) * places + p] = static_cast<float>(sum);
      }
    }
  return absl::OkStatus();
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

absl::Status RoiAlign(const Node& node, std::span<const TensorView> inputs, std::span<Tensor> outputs) {
  ASSIGN_OR_RETURN(const RoiRule rule, RoiRuleOf(node));
  const TensorView& x = inputs[0];
  const int64_t channels = x.shape[1], height = x.shape[2], width = x.shape[3];
  const double offset = rule.half_pixel ? 0.5 : 0.0, scale = static_cast<double>(rule.scale);
  auto out = outputs[0].As<float>().begin();
  for (int64_t r = 0; r < inputs[1].shape[0]; ++r) {
    const auto corner = [&](int64_t i) {
      return static_cast<double>(inputs[1].As<float>()[4 * r + i]) * scale - offset;
    };
    const double left = corner(0), top = corner(1);
    double roi_width = corner(2) - left, roi_height = corner(3) - top;
    if (!rule.half_pixel) {
      roi_width = std::max(roi_width, 1.0);
      roi_height = std::max(roi_height, 1.0);
    }
    const double bin_height = roi_height / static_cast<double>(rule.height),
                 bin_width = roi_width / static_cast<double>(rule.width);
    const auto samples_of = [&](double bin) {
      if (rule.samples > 0) return rule.samples;
      return std::isfinite(bin) ? static_cast<int64_t>(std::clamp(std::ceil(bin), 0.0, 1024.0)) : int64_t{1};
    };
    const int64_t rows = samples_of(bin_height), columns = samples_of(bin_width);
    const int64_t image = inputs[2].As<int64_t>()[r];
    for (int64_t c = 0; c < channels; ++c)
      for (int64_t py = 0; py < rule.height; ++py)
        for (int64_t px = 0; px < rule.width; ++px, ++out) {
          double sum = 0, largest = -std::numeric_limits<double>::infinity();
          for (int64_t sy = 0; sy < rows; ++sy)
            for (int64_t sx = 0; sx < columns; ++sx) {
              double v = 0, most = 0;
              double fy = top + static_cast<double>(py) * bin_height +
                          (static_cast<double>(sy) + 0.5) * bin_height / static_cast<double>(rows);
              double fx = left + static_cast<double>(px) * bin_width +
                          (static_cast<double>(sx) + 0.5) * bin_width / static_cast<double>(columns);
              const bool inside = image >= 0 && image < x.shape[0] && fy >= -1 && fx >= -1 &&
                                  fy <= static_cast<double>(height) && fx <= static_cast<double>(width);
              if (inside) {
                fy = std::clamp(fy, 0.0, static_cast<double>(height - 1));
                fx = std::clamp(fx, 0.0, static_cast<double>(width - 1));
                const auto y0 = static_cast<int64_t>(fy), x0 = static_cast<int64_t>(fx);
                const double wy = fy - static_cast<double>(y0), wx = fx - static_cast<double>(x0);
                most = -std::numeric_limits<double>::infinity();
                for (const auto& [dy, dx, weight] :
                     {std::tuple(0, 0, (1 - wy) * (1 - wx)), std::tuple(0, 1, (1 - wy) * wx),
                      std::tuple(1, 0, wy * (1 - wx)), std::tuple(1, 1, wy * wx)}) {
                  const int64_t at =
                      ((image * channels + c) * height + std::min(y0 + dy, height - 1)) * width +
                      std::min(x0 + dx, width - 1);
                  const double term = weight * static_cast<double>(x.As<float>()[at]);
                  v += term;
                  most = std::max(most, term);
                }
              }
              sum += v;
              largest = std::max(largest, most);  // of weighted corners, as ONNX Runtime has it
            }
          const auto count = static_cast<double>(std::max<int64_t>(rows * columns, 1));
          *out = static_cast<float>(!rule.max ? sum / count : rows * columns == 0 ? 0 : largest);
        }
  }
  return absl::OkStatus();
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
      {.name = "GridSample", .infer = InferGridSample, .rows = RowsOfBatches, .reference = GridSample},
      {.name = "MaxUnpool", .infer = InferMaxUnpool, .rows = RowsMixed, .reference = MaxUnpool},
      {.name = "ReverseSequence",
       .infer = InferReverseSequence,
       .rows = RowsOfReverseSequence,
       .reference = ReverseSequence},
      {.name = "RoiAlign", .infer = InferRoiAlign, .rows = RowsMixed, .reference = RoiAlign},
  };
  return defs;
}

}  // namespace hachi
