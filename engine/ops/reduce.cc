// Reductions (ONNX opset 13 to 20): the axes are input 1 (left out or empty: all of them, or none where
// noop_with_empty_axes is set), and stay as axes of one element unless keepdims is 0. A member is a row of
// reduce_ops().
#include "engine/kernels/reduce.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <ranges>

#include "absl/strings/str_cat.h"
#include "engine/base/status_macros.h"
#include "engine/kernels/permute.h"
#include "engine/kernels/unary.h"
#include "engine/ops/infer.h"
#include "engine/ops/op.h"
#include "engine/ops/take.h"

namespace hachi {
namespace {

// Whether each axis of the input is reduced.
absl::StatusOr<AxisFlags> ReducedAxes(const Node& node) {
  ASSIGN_OR_RETURN(const int64_t noop, node.Int("noop_with_empty_axes", 0));
  AxisNumbers axes;
  if (node.input(1) != nullptr) {
    ASSIGN_OR_RETURN(axes, KnownInts(node, 1, "axes"));
  }
  const size_t rank = node.inputs[0]->rank();
  AxisFlags reduced(rank, axes.empty() && noop == 0);
  for (const int64_t axis : axes) {
    ASSIGN_OR_RETURN(const size_t index, CheckAxis(axis, rank));
    reduced[index] = true;
  }
  return reduced;
}

// A reduction, then a function of its result.
struct Kernel {
  Reduction reduction;
  std::optional<UnaryFunction> function = {};
};

class ReduceStep final : public KernelStep {
 public:
  ReduceStep(const Kernel& kernel, const TensorSpec& src, size_t results, int64_t length, int64_t inner,
             std::optional<Permute> permute)
      : KernelStep({.scratch_bytes = permute ? static_cast<size_t>(src.bytes()) : 0}),
        kernel_(kernel),
        count_(static_cast<size_t>(src.count())),
        results_(results),
        length_(length),
        inner_(inner),
        permute_(std::move(permute)) {}

  bool Reads(size_t input) const override { return input == 0; }

 protected:
  absl::Status Run(const StepBuffers& buffers) const override {
    const std::byte* in = buffers.inputs[0];
    if (permute_) {
      permute_->Run(in, buffers.scratch);
      in = buffers.scratch;
    }
    const std::span results(reinterpret_cast<float*>(buffers.outputs[0]), results_);
    Reduce(kernel_.reduction, {reinterpret_cast<const float*>(in), count_}, length_, inner_, results);
    if (kernel_.function) ApplyUnary(*kernel_.function, results, results);
    return absl::OkStatus();
  }

 private:
  const Kernel kernel_;
  const size_t count_, results_;
  const int64_t length_, inner_;
  const std::optional<Permute> permute_;
};

absl::Status Infer(Node& node, bool takes_integers) {
  RETURN_IF_ERROR(CheckInputCount(node, 1, 2));
  RETURN_IF_ERROR(takes_integers ? CheckInputType(node, 0, {DType::kF32, DType::kS32, DType::kS64})
                                 : CheckInputType(node, 0, {DType::kF32}));
  ASSIGN_OR_RETURN(const AxisFlags reduced, ReducedAxes(node));
  ASSIGN_OR_RETURN(const int64_t keep, node.Int("keepdims", 1));
  SymbolicShape dims;
  for (size_t axis = 0; axis < reduced.size(); ++axis) {
    if (!reduced[axis]) dims.push_back((*node.inputs[0]->dims)[axis]);
    if (reduced[axis] && keep != 0) dims.emplace_back(1);
  }
  return SetOutput(node, node.inputs[0]->dtype, std::move(dims));
}

absl::StatusOr<RowAxis> Rows(const RowQuery& query) {
  RETURN_IF_ERROR(OnlyFirstHoldsRows(query));
  if (!query.inputs[0]) return RowAxis();
  const size_t axis = *query.inputs[0];
  ASSIGN_OR_RETURN(const AxisFlags reduced, ReducedAxes(query.node));
  if (reduced[axis]) return MixesRows(axis);
  if (query.node.output()->rank() == reduced.size()) return RowAxis(axis);
  return RowAxis(axis - static_cast<size_t>(std::count(reduced.begin(), reduced.begin() + axis, true)));
}

// Elements that are looked up by their number as they are asked for, to be read by a loop. What a view of the
// standard library would be, if the Clang that builds the fuzz targets could compile one.
template <typename T, typename At>
class Lane {
 public:
  class Iterator {
   public:
    using value_type = T;
    using difference_type = std::ptrdiff_t;

    Iterator() = default;
    Iterator(const At* at, int64_t i) : at_(at), i_(i) {}

    T operator*() const { return (*at_)(i_); }
    Iterator& operator++() {
      ++i_;
      return *this;
    }
    Iterator operator++(int) {
      const Iterator before = *this;
      ++i_;
      return before;
    }
    friend bool operator==(const Iterator& a, const Iterator& b) { return a.i_ == b.i_; }

   private:
    const At* at_ = nullptr;
    int64_t i_ = 0;
  };

  Lane(const At& at, int64_t size) : at_(at), size_(size) {}

  Iterator begin() const { return {&at_, 0}; }
  Iterator end() const { return {&at_, size_}; }
  size_t size() const { return static_cast<size_t>(size_); }

 private:
  const At& at_;
  const int64_t size_;
};

// `function` of each lane: of its elements as doubles, or as integers of their type.
template <typename Function>
absl::Status Reference(const Node& node, const TensorView& input, Tensor& output, const Function& function) {
  ASSIGN_OR_RETURN(const AxisFlags reduced, ReducedAxes(node));
  int64_t length = 1;
  for (size_t axis = 0; axis < reduced.size(); ++axis)
    if (reduced[axis]) length *= input.shape[axis];
  // Where element `k` of lane `o` lies: `k` counts along the reduced axes, `o` along the others.
  const auto place = [&](int64_t o, int64_t k) {
    int64_t at = 0, stride = 1;
    for (size_t axis = input.shape.size(); axis-- > 0; stride *= input.shape[axis]) {
      int64_t& rest = reduced[axis] ? k : o;
      at += rest % input.shape[axis] * stride;
      rest /= input.shape[axis];
    }
    return static_cast<size_t>(at);
  };
  const auto reduce = [&]<typename T, typename Wide>(T /*from*/, Wide /*to*/) {
    for (int64_t o = 0; o < output.count(); ++o) {
      const auto at = [&](int64_t k) { return static_cast<Wide>(input.As<T>()[place(o, k)]); };
      output.As<T>()[o] = static_cast<T>(function(Lane<Wide, decltype(at)>(at, length)));
    }
  };
  if (output.dtype() == DType::kF32) reduce(float{}, double{});
  if (output.dtype() == DType::kS32) reduce(int32_t{}, int32_t{});
  if (output.dtype() == DType::kS64) reduce(int64_t{}, int64_t{});
  return absl::OkStatus();
}

// How the input's elements lie for a reduction: [outer][length][inner] as they are, or as rows of `length`
// after a permutation.
struct Form {
  TensorSpec src;
  size_t results;
  int64_t length = 1, inner = 1;
  std::optional<Permute> permute;

  static absl::StatusOr<Form> Of(const LowerContext& context);
};

absl::StatusOr<Form> Form::Of(const LowerContext& context) {
  const TensorSpec src = context.Input(0), dst = context.Output();
  if (src.dtype != DType::kF32)
    return absl::UnimplementedError(
        absl::StrCat("input is ", std::string(NameOf(src.dtype)), ", expected f32"));
  if (src.count() == 0) return absl::UnimplementedError("input is empty, expected elements");
  RETURN_IF_ERROR(CheckNothingFused(context.node));
  ASSIGN_OR_RETURN(const AxisFlags reduced, ReducedAxes(context.node));
  const size_t rank = src.shape.size();
  const bool keeps = dst.shape.size() == rank;

  // Axes in memory, those of one element left out: what is kept in the order of the result, what is reduced
  // in that of the input.
  std::vector<int> kept, lost, found;
  std::vector<int> input_axis;  // of each axis of the result
  for (size_t axis = 0; axis < rank; ++axis)
    if (keeps || !reduced[axis]) input_axis.push_back(static_cast<int>(axis));
  for (const int axis : dst.layout.Order(dst.shape.size()))
    if (dst.shape[axis] != 1) kept.push_back(input_axis[axis]);
  for (const int axis : src.layout.Order(rank)) {
    if (src.shape[axis] == 1) continue;
    found.push_back(axis);
    if (reduced[axis]) lost.push_back(axis);
  }
  Form form{.src = src, .results = static_cast<size_t>(dst.count())};
  for (const int axis : lost) form.length *= src.shape[axis];

  // Where the reduced axes lie together, between kept ones in the right order, nothing has to move.
  const auto first = std::ranges::find_if(found, [&](int axis) { return reduced[axis]; }) - found.begin();
  std::vector<int> together = kept;
  together.insert(together.begin() + std::min<std::ptrdiff_t>(first, std::ssize(kept)), lost.begin(),
                  lost.end());
  if (together == found) {
    for (size_t i = static_cast<size_t>(first) + lost.size(); i < found.size(); ++i)
      form.inner *= src.shape[found[i]];
    return form;
  }
  std::vector<int> order;
  for (size_t axis = 0; axis < rank; ++axis)
    if (src.shape[axis] == 1) order.push_back(static_cast<int>(axis));
  order.insert(order.end(), kept.begin(), kept.end());
  order.insert(order.end(), lost.begin(), lost.end());
  ASSIGN_OR_RETURN(form.permute, Permute::Create(src.shape, src.layout, Layout::FromOrder(std::move(order)),
                                                 sizeof(float)));
  return form;
}

StepMaker MakerOf(const Kernel& kernel, Form form) {
  return [kernel, form = std::move(form)] {
    return std::make_unique<ReduceStep>(kernel, form.src, form.results, form.length, form.inner,
                                        form.permute);
  };
}

// FP32 through our kernel; axes that do not lie together in memory are brought together first.
std::vector<Offer> OffersOf(const Kernel& kernel) {
  const auto take = [kernel](const LowerContext& context) -> absl::StatusOr<StepMaker> {
    ASSIGN_OR_RETURN(Form form, Form::Of(context));
    if (form.permute)
      return absl::UnimplementedError("the reduced axes do not lie together, expected them to");
    return MakerOf(kernel, std::move(form));
  };
  const auto take_permuted = [kernel](const LowerContext& context) -> absl::StatusOr<StepMaker> {
    ASSIGN_OR_RETURN(Form form, Form::Of(context));
    return MakerOf(kernel, std::move(form));
  };
  return {{.name = "hachi_reduce", .take = take}, {.name = "hachi_permuted_reduce", .take = take_permuted}};
}

// A function that is no integer of integers takes real numbers alone.
template <typename Function>
OpDef Member(std::string_view name, const std::optional<Kernel>& kernel, Function function) {
  constexpr bool kTakesIntegers =
      std::is_integral_v<std::invoke_result_t<Function, std::span<const int64_t>>>;
  return {.name = name,
          .infer = [](Node& node) { return Infer(node, kTakesIntegers); },
          .rows = Rows,
          .reference =
              [=](const Node& node, std::span<const TensorView> inputs, std::span<Tensor> outputs) {
                return Reference(node, inputs[0], outputs[0], function);
              },
          .offers = kernel ? OffersOf(*kernel) : std::vector<Offer>(),
          .layout_agnostic = true};
}

// Integers are summed and multiplied as these, and wrap.
template <typename T>
using Wide = std::conditional_t<std::is_floating_point_v<T>, double, uint64_t>;

template <typename Elements>
auto Sum(const Elements& lane) {
  using T = std::ranges::range_value_t<Elements>;
  Wide<T> sum = 0;
  for (const T x : lane) sum += static_cast<Wide<T>>(x);
  return static_cast<std::conditional_t<std::is_floating_point_v<T>, double, int64_t>>(sum);
}

template <typename Elements>
auto Mean(const Elements& lane) {
  using T = std::ranges::range_value_t<Elements>;
  const auto sum = Sum(lane);
  return std::ranges::empty(lane) ? T{}
                                  : static_cast<T>(sum / static_cast<decltype(sum)>(std::ranges::size(lane)));
}

template <typename Elements>
auto Product(const Elements& lane) {
  using T = std::ranges::range_value_t<Elements>;
  Wide<T> product = 1;
  for (const T x : lane) product *= static_cast<Wide<T>>(x);
  return static_cast<T>(product);
}

template <typename Elements>
auto SumOfMagnitudes(const Elements& lane) {
  using T = std::ranges::range_value_t<Elements>;
  Wide<T> sum = 0;
  for (const T x : lane) sum += x < 0 ? 0 - static_cast<Wide<T>>(x) : static_cast<Wide<T>>(x);
  return static_cast<T>(sum);
}

template <typename Elements>
auto SumOfSquares(const Elements& lane) {
  using T = std::ranges::range_value_t<Elements>;
  Wide<T> sum = 0;
  for (const T x : lane) sum += static_cast<Wide<T>>(x) * static_cast<Wide<T>>(x);
  return static_cast<T>(sum);
}

template <typename Elements>
auto Max(const Elements& lane) {
  using T = std::ranges::range_value_t<Elements>;
  T max = std::numeric_limits<T>::has_infinity ? -std::numeric_limits<T>::infinity()
                                               : std::numeric_limits<T>::lowest();
  for (const T x : lane) max = std::max(max, x);
  return max;
}

template <typename Elements>
auto Min(const Elements& lane) {
  using T = std::ranges::range_value_t<Elements>;
  T min = std::numeric_limits<T>::has_infinity ? std::numeric_limits<T>::infinity()
                                               : std::numeric_limits<T>::max();
  for (const T x : lane) min = std::min(min, x);
  return min;
}

// The largest is taken out, so that nothing overflows.
template <typename Elements>
auto LogSumExp(const Elements& lane) {
  using T = std::ranges::range_value_t<Elements>;
  const auto max = static_cast<double>(Max(lane));
  if (std::isinf(max)) return max;
  double sum = 0;
  for (const T x : lane) sum += std::exp(static_cast<double>(x) - max);
  return max + std::log(sum);
}

}  // namespace

std::span<const OpDef> reduce_ops() {
  static const OpDef defs[] = {
      Member("ReduceL1", Kernel{Reduction::kSumOfMagnitudes},
             [](const auto& lane) { return SumOfMagnitudes(lane); }),
      Member("ReduceL2", Kernel{Reduction::kSumOfSquares, UnaryFunction::kSqrt},
             [](const auto& lane) { return std::sqrt(static_cast<double>(SumOfSquares(lane))); }),
      Member("ReduceLogSum", Kernel{Reduction::kSum, UnaryFunction::kLog},
             [](const auto& lane) { return std::log(static_cast<double>(Sum(lane))); }),
      Member("ReduceLogSumExp", std::nullopt, [](const auto& lane) { return LogSumExp(lane); }),
      Member("ReduceMax", Kernel{Reduction::kMax}, [](const auto& lane) { return Max(lane); }),
      Member("ReduceMean", Kernel{Reduction::kMean}, [](const auto& lane) { return Mean(lane); }),
      Member("ReduceMin", Kernel{Reduction::kMin}, [](const auto& lane) { return Min(lane); }),
      Member("ReduceProd", Kernel{Reduction::kProduct}, [](const auto& lane) { return Product(lane); }),
      Member("ReduceSum", Kernel{Reduction::kSum}, [](const auto& lane) { return Sum(lane); }),
      Member("ReduceSumSquare", Kernel{Reduction::kSumOfSquares},
             [](const auto& lane) { return SumOfSquares(lane); }),
  };
  return defs;
}

}  // namespace hachi
