// What makes tensors of numbers: Range (ONNX opset 11), EyeLike, OneHot and Trilu.
#include <algorithm>
#include <cmath>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "engine/base/status_macros.h"
#include "engine/cpu/team.h"
#include "engine/ops/function_step.h"
#include "engine/ops/index_range.h"
#include "engine/ops/infer.h"
#include "engine/ops/op.h"
#include "engine/ops/quantized.h"
#include "engine/ops/take.h"
#include "engine/tensor/visit_bits.h"

namespace hachi {
namespace {

constexpr int64_t kMostContent = 64;  // elements; content is for shapes, which have few axes

// ---- Range

// A constant scalar as a real number.
std::optional<double> NumberOf(const Value& value) {
  if (!value.is_constant() || value.constant->count() != 1) return std::nullopt;
  return static_cast<double>(RealAt(value.constant->view(), 0, std::nullopt));
}

// A scalar as a dimension: what inference knows of it, or a constant without a fraction.
std::optional<Dim> WholeNumberOf(const Value& value) {
  if (const auto content = ContentOf(value))
    return content->size() == 1 ? std::optional((*content)[0]) : std::nullopt;
  const auto number = NumberOf(value);
  if (!number || *number != std::floor(*number) || std::abs(*number) > 1e15) return std::nullopt;
  return Dim(static_cast<int64_t>(*number));
}

absl::StatusOr<Dim> LengthOf(const Node& node) {
  const auto start = WholeNumberOf(*node.inputs[0]), limit = WholeNumberOf(*node.inputs[1]),
             delta = WholeNumberOf(*node.inputs[2]);
  if (delta == Dim(0)) return absl::InvalidArgumentError("delta is 0, expected another number");
  if (start && limit && delta) {
    const auto step = delta->constant();
    const Dim reach = *limit - *start;
    if (step && *step > 0) {
      const Dim length = Dim::FloorDiv(reach + Dim(*step - 1), *step);
      const auto number = length.constant();
      return number && *number < 0 ? Dim(0) : length;
    }
    const auto numbers = reach.constant();
    if (step && *step < 0 && numbers) {
      const Dim back = Dim(-1) * reach, by = Dim(-1) * *step;  // without what overflows
      return Dim(std::max<int64_t>(0, *Dim::FloorDiv(back + by - 1, *by.constant()).constant()));
    }
  }
  const auto first = NumberOf(*node.inputs[0]), last = NumberOf(*node.inputs[1]),
             step = NumberOf(*node.inputs[2]);
  if (first && last && step && *step != 0 && std::isfinite((*last - *first) / *step))
    return Dim(static_cast<int64_t>(std::clamp(std::ceil((*last - *first) / *step), 0.0, 1e12)));
  return absl::UnimplementedError("start, limit or delta is computed, expected known numbers");
}

absl::Status InferRange(Node& node) {
  RETURN_IF_ERROR(CheckInputCount(node, 3, 3));
  const DType dtype = node.inputs[0]->dtype;
  for (size_t i = 0; i < 3; ++i) {
    RETURN_IF_ERROR(CheckInputType(node, i, {DType::kF32, DType::kS32, DType::kS64, DType::kS16}));
    RETURN_IF_ERROR(CheckInputType(node, i, {dtype}));
  }
  ASSIGN_OR_RETURN(const Dim length, LengthOf(node));
  RETURN_IF_ERROR(SetOutput(node, dtype, {length}));
  const auto start = ContentOf(*node.inputs[0]), delta = ContentOf(*node.inputs[2]);
  const auto count = length.constant();
  node.outputs[0]->content.reset();
  if (!start || !delta || !count || *count > kMostContent) return absl::OkStatus();
  node.outputs[0]->content.emplace();
  for (int64_t i = 0; i < *count; ++i)
    node.outputs[0]->content->push_back((*start)[0] + Dim(i) * (*delta)[0]);
  return absl::OkStatus();
}

// start + i × delta; integers wrap around.
template <typename T>
T ElementOf(T start, T delta, int64_t i) {
  if constexpr (std::is_floating_point_v<T>)
    return static_cast<T>(static_cast<double>(start) + static_cast<double>(i) * static_cast<double>(delta));
  else
    return static_cast<T>(static_cast<uint64_t>(start) +
                          static_cast<uint64_t>(i) * static_cast<uint64_t>(delta));
}

absl::Status ReferenceRange(const Node& /*node*/, std::span<const TensorView> inputs,
                            std::span<Tensor> outputs) {
  VisitDType(inputs[0].dtype, [&](auto zero) {
    using T = decltype(zero);
    for (int64_t i = 0; i < outputs[0].count(); ++i)
      outputs[0].As<T>()[i] = ElementOf(inputs[0].As<T>()[0], inputs[2].As<T>()[0], i);
  });
  return absl::OkStatus();
}

template <typename T>
class RangeStep final : public KernelStep {
 public:
  explicit RangeStep(int64_t count) : count_(count) {}

  bool Reads(size_t input) const override { return input != 1; }

 protected:
  absl::Status Run(const StepBuffers& buffers) const override {
    const T start = *reinterpret_cast<const T*>(buffers.inputs[0]);
    const T delta = *reinterpret_cast<const T*>(buffers.inputs[2]);
    auto* out = reinterpret_cast<T*>(buffers.outputs[0]);
    for (int64_t i = 0; i < count_; ++i) out[i] = ElementOf(start, delta, i);
    return absl::OkStatus();
  }

 private:
  const int64_t count_;
};

absl::StatusOr<StepMaker> TakeRange(const LowerContext& context) {
  const TensorSpec dst = context.Output();
  return [count = dst.count(), dtype = dst.dtype]() -> absl::StatusOr<std::unique_ptr<Step>> {
    if (dtype == DType::kF32) return std::make_unique<RangeStep<float>>(count);
    if (dtype == DType::kS16) return std::make_unique<RangeStep<int16_t>>(count);
    if (dtype == DType::kS32) return std::make_unique<RangeStep<int32_t>>(count);
    return std::make_unique<RangeStep<int64_t>>(count);
  };
}

// ---- EyeLike

// ONNX's number of an element type, of those that a matrix of ones may have.
absl::StatusOr<DType> EyeType(const Node& node) {
  ASSIGN_OR_RETURN(const int64_t type, node.Int("dtype", 0));
  constexpr std::pair<int64_t, DType> kTypes[] = {{1, DType::kF32}, {2, DType::kU8},   {3, DType::kS8},
                                                  {4, DType::kU16}, {5, DType::kS16},  {6, DType::kS32},
                                                  {7, DType::kS64}, {12, DType::kU32}, {13, DType::kU64}};
  if (type == 0) return node.inputs[0]->dtype;
  const auto found = std::ranges::find(kTypes, type, &std::pair<int64_t, DType>::first);
  if (found != std::end(kTypes)) return found->second;
  return absl::UnimplementedError(absl::StrCat("dtype is ONNX type ", type, ", expected a number"));
}

absl::Status InferEyeLike(Node& node) {
  RETURN_IF_ERROR(CheckInputCount(node, 1, 1));
  RETURN_IF_ERROR(CheckRank(node, 0, 2, 2));
  ASSIGN_OR_RETURN(const DType dtype, EyeType(node));
  return SetOutput(node, dtype, *node.inputs[0]->dims);
}

absl::Status ReferenceEyeLike(const Node& node, std::span<const TensorView> /*inputs*/,
                              std::span<Tensor> outputs) {
  ASSIGN_OR_RETURN(const int64_t k, node.Int("k", 0));
  Tensor& y = outputs[0];
  VisitDType(y.dtype(), [&](auto zero) {
    for (int64_t i = 0; i < y.count(); ++i)
      y.As<decltype(zero)>()[i] =
          static_cast<decltype(zero)>(i % y.shape()[1] == i / y.shape()[1] + k ? 1 : 0);
  });
  return absl::OkStatus();
}

// ---- OneHot

absl::StatusOr<size_t> OneHotAxis(const Node& node) {
  ASSIGN_OR_RETURN(const int64_t axis, node.Int("axis", -1));
  return CheckAxis(axis, node.inputs[0]->rank() + 1);
}

absl::Status InferOneHot(Node& node) {
  RETURN_IF_ERROR(CheckInputCount(node, 3, 3));
  if (node.inputs[2]->dtype == DType::kF16 || node.inputs[2]->dtype == DType::kBF16)
    return absl::UnimplementedError("values are of 16 bits, expected another type");
  RETURN_IF_ERROR(CheckElementCount(node, 2, 2));
  ASSIGN_OR_RETURN(const size_t axis, OneHotAxis(node));
  std::optional<Dim> depth;
  if (const auto content = ContentOf(*node.inputs[1]); content && content->size() == 1) depth = (*content)[0];
  if (!depth) depth = WholeNumberOf(*node.inputs[1]);
  if (!depth) return absl::UnimplementedError("depth is computed, expected one that is known");
  SymbolicShape dims = *node.inputs[0]->dims;
  dims.insert(dims.begin() + static_cast<std::ptrdiff_t>(axis), *depth);
  return SetOutput(node, node.inputs[2]->dtype, std::move(dims));
}

absl::Status ReferenceOneHot(const Node& node, std::span<const TensorView> inputs,
                             std::span<Tensor> outputs) {
  ASSIGN_OR_RETURN(const size_t axis, OneHotAxis(node));
  Tensor& y = outputs[0];
  const int64_t depth = y.shape()[axis], inner = CountOf(std::span(y.shape()).subspan(axis + 1));
  const auto bytes = static_cast<int64_t>(SizeOf(y.dtype()));
  for (int64_t i = 0; i < y.count(); ++i) {
    const int64_t k = i / inner % depth;
    auto index =
        static_cast<int64_t>(RealAt(inputs[0], i / (inner * depth) * inner + i % inner, std::nullopt));
    if (index < 0) index += depth;
    std::memcpy(y.bytes().data() + i * bytes, inputs[2].bytes + (k == index ? bytes : 0),
                static_cast<size_t>(bytes));
  }
  return absl::OkStatus();
}

// The off value everywhere, then the on value where an index says so.
absl::StatusOr<StepMaker> TakeOneHot(const LowerContext& context) {
  for (const Value* value : {context.node.inputs[0], context.node.outputs[0]})
    RETURN_IF_ERROR(CheckRowMajor(context, value));
  ASSIGN_OR_RETURN(const size_t axis, OneHotAxis(context.node));
  const TensorSpec indices = context.Input(0), dst = context.Output();
  if (indices.dtype != DType::kS64 && indices.dtype != DType::kS32)
    return absl::UnimplementedError("indices are neither s64 nor s32, expected one of them");
  const int64_t depth = dst.shape[axis], inner = CountOf(std::span(dst.shape).subspan(axis + 1));
  return MakeStep([=, index_type = indices.dtype, dtype = dst.dtype,
                   count = indices.count()](const StepBuffers& buffers) {
    const Indices picked(index_type, buffers.inputs[0]);
    VisitBits(dtype, [&](auto zero) {
      const auto* values = reinterpret_cast<const decltype(zero)*>(buffers.inputs[2]);
      auto* out = reinterpret_cast<decltype(zero)*>(buffers.outputs[0]);
      std::fill_n(out, count * depth, values[0]);
      for (int64_t i = 0; i < count; ++i) {
        const int64_t index = picked[i] < 0 ? picked[i] + depth : picked[i];
        if (index >= 0 && index < depth) out[(i / inner * depth + index) * inner + i % inner] = values[1];
      }
    });
  });
}

absl::StatusOr<RowAxis> RowsOfOneHot(const RowQuery& query) {
  RETURN_IF_ERROR(OnlyFirstHoldsRows(query));
  ASSIGN_OR_RETURN(const size_t axis, OneHotAxis(query.node));
  const RowAxis rows = query.inputs[0];
  return rows && *rows >= axis ? RowAxis(*rows + 1) : rows;
}

// ---- Trilu

absl::Status InferTrilu(Node& node) {
  RETURN_IF_ERROR(CheckInputCount(node, 1, 2));
  RETURN_IF_ERROR(CheckRank(node, 0, 2, 12));
  if (node.input(1) != nullptr) {
    RETURN_IF_ERROR(CheckInputType(node, 1, {DType::kS64}));
    RETURN_IF_ERROR(CheckElementCount(node, 1, 1));
  }
  return SetOutput(node, node.inputs[0]->dtype, *node.inputs[0]->dims);
}

absl::Status ReferenceTrilu(const Node& node, std::span<const TensorView> inputs, std::span<Tensor> outputs) {
  ASSIGN_OR_RETURN(const int64_t upper, node.Int("upper", 1));
  // Beyond any matrix one diagonal is as good as another.
  const int64_t k = node.input(1) == nullptr ? 0 : std::clamp(inputs[1].As<int64_t>()[0], -kMaxDim, kMaxDim);
  const auto shape = inputs[0].shape;
  const int64_t columns = shape.back(), rows = shape[shape.size() - 2];
  const auto bytes = static_cast<int64_t>(SizeOf(inputs[0].dtype));
  for (int64_t i = 0; i < outputs[0].count(); ++i) {
    const int64_t row = i / columns % rows, column = i % columns;
    const bool kept = upper != 0 ? column >= row + k : column <= row + k;
    std::byte* out = outputs[0].bytes().data() + i * bytes;
    if (kept)
      std::memcpy(out, inputs[0].bytes + i * bytes, static_cast<size_t>(bytes));
    else
      std::memset(out, 0, static_cast<size_t>(bytes));
  }
  return absl::OkStatus();
}

// A row of a matrix at a time: what is kept of it is one run.
absl::StatusOr<StepMaker> TakeTrilu(const LowerContext& context) {
  for (const Value* value : {context.node.inputs[0], context.node.outputs[0]})
    RETURN_IF_ERROR(CheckRowMajor(context, value));
  ASSIGN_OR_RETURN(const int64_t upper, context.node.Int("upper", 1));
  const TensorSpec src = context.Input(0);
  const int64_t columns = src.shape.back(), rows = src.shape[src.shape.size() - 2];
  const bool shifted = context.node.input(1) != nullptr;
  return MakeStep(
      [=, bytes = static_cast<int64_t>(SizeOf(src.dtype)),
       matrices = CountOf(std::span(src.shape).first(src.shape.size() - 2))](const StepBuffers& buffers) {
        const int64_t k =
            shifted ? std::clamp(*reinterpret_cast<const int64_t*>(buffers.inputs[1]), -kMaxDim, kMaxDim) : 0;
        ParallelFor(matrices * rows, (1 << 14) / (columns + 1) + 1, [&](int64_t begin, int64_t end) {
          for (int64_t row = begin; row < end; ++row) {
            // Kept is what lies before (upper: from) this column.
            const int64_t edge = std::clamp<int64_t>(row % rows + k + (upper != 0 ? 0 : 1), 0, columns);
            const int64_t from = upper != 0 ? edge : 0, to = upper != 0 ? columns : edge;
            std::byte* out = buffers.outputs[0] + row * columns * bytes;
            std::memset(out, 0, static_cast<size_t>(from * bytes));
            std::memcpy(out + from * bytes, buffers.inputs[0] + (row * columns + from) * bytes,
                        static_cast<size_t>((to - from) * bytes));
            std::memset(out + to * bytes, 0, static_cast<size_t>((columns - to) * bytes));
          }
        });
      });
}

absl::StatusOr<RowAxis> RowsOfTrilu(const RowQuery& query) {
  RETURN_IF_ERROR(OnlyFirstHoldsRows(query));
  const RowAxis rows = query.inputs[0];
  if (rows && *rows + 2 >= query.node.inputs[0]->rank()) return MixesRows(*rows);
  return rows;
}

}  // namespace

std::span<const OpDef> range_ops() {
  static const OpDef defs[] = {
      {.name = "EyeLike",
       .infer = InferEyeLike,
       .reads_elements = false,
       .rows = RowsMixed,
       .reference = ReferenceEyeLike},
      {.name = "OneHot",
       .infer = InferOneHot,
       .rows = RowsOfOneHot,
       .shape_input = 1,
       .reference = ReferenceOneHot,
       .offers = {{.name = "hachi_one_hot", .take = TakeOneHot}}},
      {.name = "Range",
       .infer = InferRange,
       .rows = RowsMixed,
       .reference = ReferenceRange,
       .offers = {{.name = "hachi_range", .take = TakeRange}}},
      {.name = "Trilu",
       .infer = InferTrilu,
       .rows = RowsOfTrilu,
       .reference = ReferenceTrilu,
       .offers = {{.name = "hachi_trilu", .take = TakeTrilu}}},
  };
  return defs;
}

}  // namespace hachi
