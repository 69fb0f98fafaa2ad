// Resize (ONNX opset 19): inputs are x, the region of interest, scales and sizes, of which one is there.
#include <algorithm>
#include <array>
#include <cmath>
#include <optional>
#include <vector>

#include "absl/strings/str_cat.h"
#include "engine/base/status_macros.h"
#include "engine/cpu/team.h"
#include "engine/kernels/weighted_sum.h"
#include "engine/ops/infer.h"
#include "engine/ops/mapped_copy.h"
#include "engine/ops/op.h"
#include "engine/ops/quantized.h"
#include "engine/ops/take.h"

namespace hachi {
namespace {

enum class Mode { kNearest, kLinear, kCubic };

// What the attributes say.
struct Rule {
  Mode mode;
  std::string coordinates, nearest, policy;
  float cubic_a, extrapolated;
  bool exclude_outside, antialias;
  std::vector<size_t> axes;  // that scales, sizes and the region speak of
};

absl::StatusOr<Rule> RuleOf(const Node& node) {
  Rule rule{};
  ASSIGN_OR_RETURN(const std::string mode, node.String("mode", "nearest"));
  if (mode != "nearest" && mode != "linear" && mode != "cubic")
    return absl::InvalidArgumentError(
        absl::StrCat("mode is '", mode, "', expected nearest, linear or cubic"));
  rule.mode = mode == "nearest" ? Mode::kNearest : mode == "linear" ? Mode::kLinear : Mode::kCubic;
  ASSIGN_OR_RETURN(rule.coordinates, node.String("coordinate_transformation_mode", "half_pixel"));
  constexpr std::string_view kCoordinates[] = {
      "half_pixel", "half_pixel_symmetric", "pytorch_half_pixel", "align_corners",
      "asymmetric", "tf_half_pixel_for_nn", "tf_crop_and_resize"};
  if (std::ranges::find(kCoordinates, rule.coordinates) == std::end(kCoordinates))
    return absl::InvalidArgumentError(
        absl::StrCat("coordinate_transformation_mode is '", rule.coordinates, "', expected one of ONNX's"));
  ASSIGN_OR_RETURN(rule.nearest, node.String("nearest_mode", "round_prefer_floor"));
  constexpr std::string_view kNearest[] = {"round_prefer_floor", "round_prefer_ceil", "floor", "ceil"};
  if (std::ranges::find(kNearest, rule.nearest) == std::end(kNearest))
    return absl::InvalidArgumentError(
        absl::StrCat("nearest_mode is '", rule.nearest, "', expected one of ONNX's"));
  ASSIGN_OR_RETURN(rule.policy, node.String("keep_aspect_ratio_policy", "stretch"));
  ASSIGN_OR_RETURN(rule.cubic_a, node.Float("cubic_coeff_a", -0.75f));
  ASSIGN_OR_RETURN(rule.extrapolated, node.Float("extrapolation_value", 0.0f));
  ASSIGN_OR_RETURN(const int64_t exclude, node.Int("exclude_outside", 0));
  ASSIGN_OR_RETURN(const int64_t antialias, node.Int("antialias", 0));
  rule.exclude_outside = exclude != 0;
  rule.antialias = antialias != 0;
  ASSIGN_OR_RETURN(const AxisNumbers axes, node.Ints("axes", {}));
  const size_t rank = node.inputs[0]->rank();
  for (const int64_t axis : axes) {
    ASSIGN_OR_RETURN(const size_t index, CheckAxis(axis, rank));
    rule.axes.push_back(index);
  }
  if (!node.attrs.contains("axes"))
    for (size_t axis = 0; axis < rank; ++axis) rule.axes.push_back(axis);
  return rule;
}

// The constant floats of input `i`, one for each axis of the rule (`of_each` for each); empty: it is left
// out.
absl::StatusOr<std::vector<float>> ConstantFloats(const Node& node, size_t i, size_t count) {
  const Value* value = node.input(i);
  if (value == nullptr || (value->is_constant() && value->constant->count() == 0))
    return std::vector<float>();
  if (!value->is_constant())
    return absl::UnimplementedError(
        absl::StrCat("input ", i, " ('", value->name, "') is computed, expected a constant"));
  if (value->dtype != DType::kF32 || value->constant->count() != static_cast<int64_t>(count))
    return absl::InvalidArgumentError(absl::StrCat("input ", i, " has ", value->constant->count(),
                                                   " elements, expected ", count, " of f32"));
  const std::span<const float> elements = value->constant->As<float>();
  return std::vector<float>(elements.begin(), elements.end());
}

// floor(size * scale).
absl::StatusOr<Dim> Scaled(const Dim& size, float scale) {
  if (!(scale > 0 && scale <= 65536))
    return absl::InvalidArgumentError(
        absl::StrCat("a scale is ", scale, ", expected more than 0, at most 65536"));
  if (const auto number = size.constant())
    return Dim(static_cast<int64_t>(std::floor(static_cast<double>(*number) * static_cast<double>(scale))));
  // As a fraction: exporters write 2, 0.5, 1.5.
  for (int64_t divisor = 1; divisor <= 64; ++divisor) {
    const double factor = static_cast<double>(scale) * static_cast<double>(divisor);
    if (factor == std::floor(factor)) return Dim::FloorDiv(size * Dim(static_cast<int64_t>(factor)), divisor);
  }
  return absl::UnimplementedError(
      absl::StrCat("scales ", size.ToText(), " by ", scale, ", expected a fraction for a free dimension"));
}

absl::Status Infer(Node& node) {
  RETURN_IF_ERROR(CheckInputCount(node, 1, 4));
  if (!node.inputs[0]->quant)
    RETURN_IF_ERROR(CheckInputType(
        node, 0, {DType::kF32, DType::kU8, DType::kS8, DType::kS32, DType::kS64, DType::kBool}));
  ASSIGN_OR_RETURN(const Rule rule, RuleOf(node));
  if (rule.mode != Mode::kNearest && !IsReal(*node.inputs[0]))
    return absl::UnimplementedError("interpolates integers, expected real numbers");
  ASSIGN_OR_RETURN(const std::vector<float> scales, ConstantFloats(node, 2, rule.axes.size()));
  RETURN_IF_ERROR(ConstantFloats(node, 1, 2 * rule.axes.size()).status());
  SymbolicShape dims = *node.inputs[0]->dims;
  if (!scales.empty()) {
    for (size_t i = 0; i < rule.axes.size(); ++i) {
      ASSIGN_OR_RETURN(dims[rule.axes[i]], Scaled(dims[rule.axes[i]], scales[i]));
    }
    return SetOutputLike(node, std::move(dims));
  }
  const auto sizes = node.input(3) == nullptr ? std::nullopt : ContentOf(*node.inputs[3]);
  if (!sizes)
    return absl::UnimplementedError("scales and sizes are left out or computed, expected one that is known");
  if (sizes->size() != rule.axes.size())
    return absl::InvalidArgumentError(absl::StrCat(sizes->size(), " sizes, expected ", rule.axes.size()));
  if (rule.policy != "stretch") {
    // One scale for all axes.
    std::optional<double> scale;
    for (size_t i = 0; i < rule.axes.size(); ++i) {
      const auto in = dims[rule.axes[i]].constant(), out = (*sizes)[i].constant();
      if (!in || !out || *in == 0)
        return absl::UnimplementedError("keeps the aspect ratio of free dimensions, expected numbers");
      const double own = static_cast<double>(*out) / static_cast<double>(*in);
      if (!scale) scale = own;
      scale = rule.policy == "not_larger" ? std::min(*scale, own) : std::max(*scale, own);
    }
    for (const size_t axis : rule.axes)
      dims[axis] =
          Dim(static_cast<int64_t>(std::floor(*scale * static_cast<double>(*dims[axis].constant()) + 0.5)));
    return SetOutputLike(node, std::move(dims));
  }
  for (size_t i = 0; i < rule.axes.size(); ++i) {
    if (const auto number = (*sizes)[i].constant(); number && *number < 0)
      return absl::InvalidArgumentError(absl::StrCat("a size is ", *number, ", expected none below 0"));
    dims[rule.axes[i]] = (*sizes)[i];
  }
  return SetOutputLike(node, std::move(dims));
}

struct Tap {
  int64_t index;
  float weight;
};

// What each element of an axis is made of; nothing: of extrapolation_value.
using AxisTaps = std::vector<std::vector<Tap>>;

// How an axis is resized.
struct AxisSizes {
  int64_t in, out;
  float scale;       // as written, or out / in
  float start, end;  // of the region of interest
};

// The place in the input of the output's element `x`.
double PlaceOf(const Rule& rule, const AxisSizes& sizes, int64_t x) {
  const auto at = static_cast<double>(x), in = static_cast<double>(sizes.in),
             out = static_cast<double>(sizes.out);
  const auto scale = static_cast<double>(sizes.scale);
  if (rule.coordinates == "asymmetric") return at / scale;
  if (rule.coordinates == "align_corners") return sizes.out == 1 ? 0 : at * (in - 1) / (out - 1);
  if (rule.coordinates == "tf_half_pixel_for_nn") return (at + 0.5) / scale;
  if (rule.coordinates == "tf_crop_and_resize") {
    const auto start = static_cast<double>(sizes.start), end = static_cast<double>(sizes.end);
    if (sizes.out == 1) return 0.5 * (start + end) * (in - 1);
    return start * (in - 1) + at * (end - start) * (in - 1) / (out - 1);
  }
  if (rule.coordinates == "pytorch_half_pixel" && sizes.out == 1) return 0;
  const double half_pixel = (at + 0.5) / scale - 0.5;
  if (rule.coordinates != "half_pixel_symmetric") return half_pixel;
  return half_pixel + in / 2 * (1 - out / (scale * in));
}

int64_t NearestOf(const Rule& rule, double place) {
  if (rule.nearest == "floor") return static_cast<int64_t>(std::floor(place));
  if (rule.nearest == "ceil") return static_cast<int64_t>(std::ceil(place));
  if (rule.nearest == "round_prefer_ceil") return static_cast<int64_t>(std::floor(place + 0.5));
  return static_cast<int64_t>(std::ceil(place - 0.5));
}

// The filter's height at distance `x` from its middle.
double FilterAt(const Rule& rule, double x) {
  x = std::abs(x);
  if (rule.mode == Mode::kLinear) return std::max(0.0, 1 - x);
  const auto a = static_cast<double>(rule.cubic_a);
  if (x <= 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
  if (x < 2) return ((a * x - 5 * a) * x + 8 * a) * x - 4 * a;
  return 0;
}

std::vector<Tap> TapsOf(const Rule& rule, const AxisSizes& sizes, int64_t x) {
  const double place = PlaceOf(rule, sizes, x);
  const int64_t last = sizes.in - 1;
  if (rule.coordinates == "tf_crop_and_resize" && (place < 0 || place > static_cast<double>(last))) return {};
  if (rule.mode == Mode::kNearest) return {{std::clamp<int64_t>(NearestOf(rule, place), 0, last), 1.0f}};
  // A filter that shrinks is as much wider.
  const double stretch = rule.antialias && sizes.scale < 1 ? static_cast<double>(sizes.scale) : 1.0;
  const double reach = (rule.mode == Mode::kLinear ? 1 : 2) / stretch;
  std::vector<Tap> taps;
  double sum = 0;
  for (auto i = static_cast<int64_t>(std::floor(place - reach)) + 1; static_cast<double>(i) < place + reach;
       ++i) {
    const bool outside = i < 0 || i > last;
    if (outside && rule.exclude_outside) continue;
    const double weight = FilterAt(rule, (static_cast<double>(i) - place) * stretch);
    sum += weight;
    const int64_t index = std::clamp<int64_t>(i, 0, last);
    if (!taps.empty() && taps.back().index == index)
      taps.back().weight += static_cast<float>(weight);
    else
      taps.push_back({index, static_cast<float>(weight)});
  }
  for (Tap& tap : taps) tap.weight = static_cast<float>(static_cast<double>(tap.weight) / sum);
  return taps;
}

absl::StatusOr<std::vector<AxisTaps>> AllTaps(const Node& node, std::span<const int64_t> in,
                                              std::span<const int64_t> out) {
  ASSIGN_OR_RETURN(const Rule rule, RuleOf(node));
  ASSIGN_OR_RETURN(const std::vector<float> scales, ConstantFloats(node, 2, rule.axes.size()));
  ASSIGN_OR_RETURN(const std::vector<float> region, ConstantFloats(node, 1, 2 * rule.axes.size()));
  std::vector<AxisTaps> all(in.size());
  for (size_t axis = 0; axis < in.size(); ++axis) {
    const auto named = std::ranges::find(rule.axes, axis);
    const auto i = static_cast<size_t>(named - rule.axes.begin());
    AxisSizes sizes{in[axis], out[axis], 1.0f, 0.0f, 1.0f};
    if (sizes.out > 0 && sizes.in == 0)
      return absl::InvalidArgumentError(
          absl::StrCat("axis ", axis, " is empty, expected elements to resize"));
    if (named != rule.axes.end()) {
      sizes.scale = scales.empty()
                        ? static_cast<float>(sizes.out) / static_cast<float>(std::max<int64_t>(sizes.in, 1))
                        : scales[i];
      if (!region.empty()) sizes.start = region[i], sizes.end = region[i + rule.axes.size()];
    }
    const bool same = sizes.in == sizes.out && sizes.scale == 1.0f && region.empty();
    for (int64_t x = 0; x < sizes.out; ++x)
      all[axis].push_back(same ? std::vector<Tap>{{x, 1.0f}} : TapsOf(rule, sizes, x));
  }
  return all;
}

// Each element as the sum over the taps of all axes.
absl::Status Reference(const Node& node, std::span<const TensorView> inputs, std::span<Tensor> outputs) {
  const TensorView& x = inputs[0];
  Tensor& y = outputs[0];
  ASSIGN_OR_RETURN(const Rule rule, RuleOf(node));
  ASSIGN_OR_RETURN(const std::vector<AxisTaps> taps, AllTaps(node, x.shape, y.shape()));
  const auto bytes = static_cast<int64_t>(SizeOf(x.dtype));
  for (int64_t i = 0; i < y.count(); ++i) {
    std::vector<std::pair<int64_t, double>> terms{{0, 1.0}};
    int64_t stride = 1, rest = i;
    for (size_t axis = taps.size(); axis-- > 0; rest /= y.shape()[axis], stride *= x.shape[axis]) {
      std::vector<std::pair<int64_t, double>> more;
      for (const Tap& tap : taps[axis][static_cast<size_t>(rest % y.shape()[axis])])
        for (const auto& [at, weight] : terms)
          more.emplace_back(at + tap.index * stride, weight * static_cast<double>(tap.weight));
      terms = std::move(more);
    }
    if (rule.mode == Mode::kNearest && !terms.empty()) {
      std::copy_n(x.bytes + terms[0].first * bytes, bytes, y.bytes().data() + i * bytes);
      continue;
    }
    double sum = terms.empty() ? static_cast<double>(rule.extrapolated) : 0.0;
    for (const auto& [at, weight] : terms)
      sum += weight * static_cast<double>(RealAt(x, at, node.inputs[0]->quant));
    StoreReal(y, i, static_cast<float>(sum), node.outputs[0]->quant);
  }
  return absl::OkStatus();
}

absl::StatusOr<StepMaker> TakeNearest(const LowerContext& context) {
  ASSIGN_OR_RETURN(const Rule rule, RuleOf(context.node));
  if (rule.mode != Mode::kNearest) return absl::UnimplementedError("interpolates, expected mode nearest");
  ASSIGN_OR_RETURN(const auto taps, AllTaps(context.node, context.Input(0).shape, context.Output().shape));
  AxisMaps maps(taps.size());
  for (size_t axis = 0; axis < taps.size(); ++axis)
    for (const std::vector<Tap>& tap : taps[axis]) maps[axis].push_back(tap.empty() ? kFilled : tap[0].index);
  Tensor fill(context.Output().dtype, {1});
  StoreReal(fill, 0, rule.extrapolated, context.Output().quant);
  return TakeMapped(context, maps, {fill.bytes().begin(), fill.bytes().end()});
}

constexpr size_t kMostTerms = 512;  // of one element; cubic over three axes has 64

// Sums of pixels, each a vector along the axes that are innermost in memory and not resized.
template <typename T>
class InterpolateStep final : public KernelStep {
 public:
  // Along one axis: the input's offsets and weights for each place.
  struct Axis {
    std::vector<std::vector<WeightedVector>> taps;
  };

  InterpolateStep(std::vector<Axis> axes, int64_t inner) : axes_(std::move(axes)), inner_(inner) {
    for (const Axis& axis : axes_) pixels_ *= static_cast<int64_t>(axis.taps.size());
  }

  bool Reads(size_t input) const override { return input == 0; }

 protected:
  absl::Status Run(const StepBuffers& buffers) const override {
    const T* in = reinterpret_cast<const T*>(buffers.inputs[0]);
    T* out = reinterpret_cast<T*>(buffers.outputs[0]);
    ParallelFor(pixels_, kGrain / inner_ + 1, [&](int64_t begin, int64_t end) {
      std::array<WeightedVector, kMostTerms> terms;
      for (int64_t pixel = begin; pixel < end; ++pixel) {
        terms[0] = {0, 1.0f};
        size_t count = 1;
        int64_t rest = pixel;
        for (size_t a = axes_.size(); a-- > 0;) {
          const auto& all = axes_[a].taps;
          const auto& taps = all[static_cast<size_t>(rest % static_cast<int64_t>(all.size()))];
          rest /= static_cast<int64_t>(all.size());
          for (size_t t = taps.size(); t-- > 0;)
            for (size_t k = 0; k < count; ++k)
              terms[t * count + k] = {terms[k].offset + taps[t].offset, terms[k].weight * taps[t].weight};
          count *= taps.size();
        }
        WeightedSum(in, std::span(terms).first(count),
                    std::span(out + pixel * inner_, static_cast<size_t>(inner_)));
      }
    });
    return absl::OkStatus();
  }

 private:
  static constexpr int64_t kGrain = 4096;  // results worth waking the team for: some µs

  const std::vector<Axis> axes_;  // around a vector, outermost first
  const int64_t inner_;           // elements of a vector
  int64_t pixels_ = 1;
};

template <typename T>
StepMaker MakerOf(const std::vector<AxisTaps>& taps, const TensorSpec& src, const std::vector<int>& order,
                  int64_t inner) {
  std::vector<typename InterpolateStep<T>::Axis> axes;
  const std::vector<int64_t> strides = src.layout.StridesOf(src.shape);
  for (const int a : order) {
    const auto axis = static_cast<size_t>(a);
    typename InterpolateStep<T>::Axis made;
    for (const std::vector<Tap>& place : taps[axis]) {
      auto& terms = made.taps.emplace_back();
      for (const Tap& tap : place) terms.push_back({tap.index * strides[axis], tap.weight});
    }
    axes.push_back(std::move(made));
  }
  return [axes = std::move(axes), inner] { return std::make_unique<InterpolateStep<T>>(axes, inner); };
}

absl::StatusOr<StepMaker> TakeInterpolated(const LowerContext& context) {
  const TensorSpec src = context.Input(0), dst = context.Output();
  RETURN_IF_ERROR(CheckNothingFused(context.node));
  if (src.dtype != dst.dtype || src.quant != dst.quant)
    return absl::UnimplementedError("types or scales differ, expected one");
  ASSIGN_OR_RETURN(const auto taps, AllTaps(context.node, src.shape, dst.shape));
  size_t terms = 1;
  for (const AxisTaps& axis : taps) {
    size_t most = 0;
    for (const auto& place : axis) {
      if (place.empty()) return absl::UnimplementedError("extrapolates, expected places inside the input");
      most = std::max(most, place.size());
    }
    terms *= std::max<size_t>(most, 1);
  }
  if (terms > kMostTerms)
    return absl::UnimplementedError(absl::StrCat(terms, " terms an element, expected at most ", kMostTerms));
  std::vector<int> order = dst.layout.Order(dst.shape.size());
  if (src.layout.Order(src.shape.size()) != order)
    return absl::UnimplementedError("input and output differ in layout, expected one");
  int64_t inner = 1;
  const auto untouched = [&](const AxisTaps& axis) {
    for (size_t x = 0; x < axis.size(); ++x)
      if (axis[x].size() != 1 || axis[x][0].index != static_cast<int64_t>(x) || axis[x][0].weight != 1.0f)
        return false;
    return true;
  };
  while (!order.empty() &&
         src.shape[static_cast<size_t>(order.back())] == dst.shape[static_cast<size_t>(order.back())] &&
         untouched(taps[static_cast<size_t>(order.back())])) {
    inner *= dst.shape[static_cast<size_t>(order.back())];
    order.pop_back();
  }
  if (inner == 0) return absl::UnimplementedError("is empty, expected elements");
  if (src.dtype == DType::kU8) return MakerOf<uint8_t>(taps, src, order, inner);
  if (src.dtype == DType::kS8) return MakerOf<int8_t>(taps, src, order, inner);
  if (src.dtype == DType::kF32) return MakerOf<float>(taps, src, order, inner);
  return absl::UnimplementedError("has another type, expected f32, u8 or s8");
}

// Rows are left alone where their axis is.
absl::StatusOr<RowAxis> RowsOfResize(const RowQuery& query) {
  RETURN_IF_ERROR(OnlyFirstHoldsRows(query));
  const RowAxis rows = query.inputs[0];
  if (rows && (*query.node.inputs[0]->dims)[*rows] != (*query.node.output()->dims)[*rows])
    return MixesRows(*rows);
  return rows;
}

}  // namespace

std::span<const OpDef> resize_ops() {
  static const OpDef defs[] = {{.name = "Resize",
                                .infer = Infer,
                                .quantize = QuantRule::kKeepScale,
                                .rows = RowsOfResize,
                                .shape_input = 3,
                                .reference = Reference,
                                .offers = {{.name = "hachi_mapped_copy", .take = TakeNearest},
                                           {.name = "hachi_interpolate", .take = TakeInterpolated}},
                                .channels_last = true}};
  return defs;
}

}  // namespace hachi
