#include "engine/ops/broadcast.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "engine/base/status_macros.h"
#include "engine/cpu/team.h"
#include "engine/kernels/quantize.h"
#include "engine/onednn/binary.h"
#include "engine/ops/infer.h"
#include "engine/ops/onednn_step.h"
#include "engine/ops/quantized.h"

namespace hachi {
namespace {

// With 1s in front, in a layout whose bytes are the same.
TensorSpec Widen(TensorSpec spec, const TensorSpec& result, size_t rank) {
  const size_t added = rank - spec.shape.size();
  std::vector<int> order;
  for (size_t axis = 0; axis < added; ++axis) order.push_back(static_cast<int>(axis));
  for (const int axis : spec.layout.Order(spec.shape.size())) order.push_back(axis + static_cast<int>(added));
  spec.shape.insert(spec.shape.begin(), added, 1);
  spec.layout = Layout::FromOrder(std::move(order));
  if (spec.layout.SameBytes(result.layout, spec.shape)) spec.layout = result.layout;
  return spec;
}

}  // namespace

absl::Status InferBroadcast(Node& node) {
  RETURN_IF_ERROR(CheckInputCount(node, 1, node.inputs.size()));
  SymbolicShape dims;
  const DType dtype = node.inputs[0]->dtype;
  const bool real = IsReal(*node.inputs[0]);
  for (size_t i = 0; i < node.inputs.size(); ++i) {
    if (node.inputs[i] == nullptr)
      return absl::InvalidArgumentError(absl::StrCat("input ", i, " is left out, expected a value"));
    if (real) {
      RETURN_IF_ERROR(CheckReal(node, i));
    } else {
      RETURN_IF_ERROR(CheckInputType(node, i, {dtype}));
      if (dtype == DType::kBool || dtype == DType::kF16 || dtype == DType::kBF16)
        return absl::UnimplementedError(
            absl::StrCat("inputs have type ", std::string(NameOf(dtype)), ", expected f32 or integers"));
    }
    ASSIGN_OR_RETURN(dims, BroadcastDims(dims, *node.inputs[i]->dims));
  }
  return SetOutput(node, real ? RealType(*node.outputs[0]) : dtype, std::move(dims));
}

std::optional<PairedContent> PairContents(const Node& node) {
  if (node.inputs[0]->rank() > 1 || node.inputs[1]->rank() > 1) return std::nullopt;
  const auto a = ContentOf(*node.inputs[0]), b = ContentOf(*node.inputs[1]);
  if (!a || !b) return std::nullopt;
  const size_t count = a->size() == 1 ? b->size() : a->size();
  if ((a->size() != 1 && a->size() != count) || (b->size() != 1 && b->size() != count)) return std::nullopt;
  PairedContent pairs;
  for (size_t i = 0; i < count; ++i) {
    pairs.a.push_back((*a)[a->size() == 1 ? 0 : i]);
    pairs.b.push_back((*b)[b->size() == 1 ? 0 : i]);
  }
  return pairs;
}

int64_t BroadcastIndex(int64_t i, std::span<const int64_t> shape, std::span<const int64_t> operand) {
  int64_t index = 0, stride = 1;
  for (size_t k = 1; k <= operand.size(); ++k) {
    const int64_t size = operand[operand.size() - k];
    if (size != 1) index += i % shape[shape.size() - k] * stride;
    i /= shape[shape.size() - k];
    stride *= size;
  }
  return index;
}

BroadcastRows BroadcastRows::Of(const TensorSpec& result, std::span<const TensorSpec> operands) {
  const size_t rank = result.shape.size();
  std::vector<std::vector<int64_t>> by_axis;  // strides by axis of the result
  for (const TensorSpec& operand : operands) {
    std::vector<int64_t> own = operand.layout.StridesOf(operand.shape);
    for (size_t axis = 0; axis < own.size(); ++axis)
      if (operand.shape[axis] == 1) own[axis] = 0;
    own.insert(own.begin(), rank - own.size(), 0);
    by_axis.push_back(std::move(own));
  }
  BroadcastRows rows;
  rows.strides.resize(operands.size());
  for (const int axis : result.layout.Order(rank)) {
    const int64_t size = result.shape[axis];
    if (size == 1) continue;
    bool merges = !rows.sizes.empty();
    for (size_t k = 0; merges && k < operands.size(); ++k)
      merges = rows.strides[k].back() == size * by_axis[k][axis];
    if (merges) {
      rows.sizes.back() *= size;
    } else {
      rows.sizes.push_back(size);
    }
    for (size_t k = 0; k < operands.size(); ++k) {
      if (merges) rows.strides[k].pop_back();
      rows.strides[k].push_back(by_axis[k][axis]);
    }
  }
  if (rows.sizes.empty()) {
    rows.sizes.push_back(1);
    for (std::vector<int64_t>& strides : rows.strides) strides.push_back(0);
  }
  return rows;
}

int64_t BroadcastRows::count() const { return CountOf(std::span(sizes).first(sizes.size() - 1)); }

int64_t BroadcastRows::Begin(size_t operand, int64_t row) const {
  int64_t at = 0;
  for (size_t axis = sizes.size() - 1; axis-- > 0; row /= sizes[axis])
    at += row % sizes[axis] * strides[operand][axis];
  return at;
}

absl::Status ReferenceBroadcast(const Node& node, std::span<const TensorView> inputs,
                                std::span<Tensor> outputs, const BinaryFunction& function) {
  Tensor& y = outputs[0];
  const bool real = IsReal(*node.inputs[0]);
  VisitDType(y.dtype(), [&](auto zero) {
    using T = decltype(zero);
    for (int64_t i = 0; i < y.count(); ++i) {
      const auto at = [&](size_t k) { return BroadcastIndex(i, y.shape(), inputs[k].shape); };
      if (real) {
        const auto element = [&](size_t k) {
          return static_cast<double>(RealAt(inputs[k], at(k), node.inputs[k]->quant));
        };
        double result = element(0);
        for (size_t k = 1; k < inputs.size(); ++k) result = function.real(result, element(k));
        StoreReal(y, i, ApplyPostOps(node, inputs, i, static_cast<float>(result)), node.outputs[0]->quant);
      } else if constexpr (std::is_same_v<T, double>) {
        double result = inputs[0].As<double>()[at(0)];
        for (size_t k = 1; k < inputs.size(); ++k)
          result = function.real(result, inputs[k].As<double>()[at(k)]);
        y.As<double>()[i] = result;
      } else {
        int64_t result = IntegerAt(inputs[0], at(0));
        for (size_t k = 1; k < inputs.size(); ++k)
          result =
              static_cast<int64_t>(static_cast<T>(function.integer(result, IntegerAt(inputs[k], at(k)))));
        y.As<T>()[i] = static_cast<T>(result);
      }
    }
  });
  return absl::OkStatus();
}

namespace {

// Integers that stand for no real numbers have no kernel.
absl::Status CheckRealInputs(const Node& node) {
  for (const Value* input : node.inputs)
    if (!IsReal(*input))
      return absl::UnimplementedError(absl::StrCat(
          "'", input->name, "' is ", std::string(NameOf(input->dtype)), ", expected real numbers"));
  return absl::OkStatus();
}

absl::StatusOr<StepMaker> TakeInLibrary(const LowerContext& context, BinarySpec::Kind kind) {
  const Node& node = context.node;
  RETURN_IF_ERROR(CheckRealInputs(node));
  if (node.inputs.size() != 2)
    return absl::UnimplementedError(absl::StrCat(node.inputs.size(), " inputs, expected 2"));
  BinarySpec spec{.kind = kind, .post_ops = node.post_ops};
  const TensorSpec dst = context.Output();
  const size_t rank = std::max<size_t>(dst.shape.size(), 1);
  spec.dst = Widen(dst, dst, rank);
  spec.src = Widen(context.Input(0), spec.dst, rank);
  spec.src1 = Widen(context.Input(1), spec.dst, rank);
  OnednnStep::Operands operands{.src = 0, .src1 = 1};
  // The library broadcasts its second operand only.
  const bool commutes = kind != BinarySpec::Kind::kSub && kind != BinarySpec::Kind::kDiv;
  if (commutes && spec.src.shape != spec.dst.shape) {
    std::swap(spec.src, spec.src1);
    std::swap(operands.src, operands.src1);
  }
  if (spec.src.shape != spec.dst.shape)
    return absl::UnimplementedError("two operands that broadcast have no kernel, expected one");
  return TakePrimitive(FindBinary(spec), operands);
}

// Pieces of rows in memory order; each operand is brought to floats, combined, and stored.
class BroadcastStep final : public KernelStep {
 public:
  BroadcastStep(BroadcastKind kind, BroadcastRows rows, std::vector<TensorSpec> operands,
                const TensorSpec& result, std::vector<PostOp> post_ops)
      : kind_(kind),
        rows_(std::move(rows)),
        operands_(std::move(operands)),
        dtype_(result.dtype),
        quant_(result.quant),
        post_ops_(std::move(post_ops)) {}

 protected:
  absl::Status Run(const StepBuffers& buffers) const override {
    const int64_t length = rows_.length(), pieces = (length + kPiece - 1) / kPiece;
    ParallelFor(
        rows_.count() * pieces, kGrain / std::min(length + 1, kPiece) + 1, [&](int64_t begin, int64_t end) {
          for (int64_t i = begin; i < end; ++i) {
            const int64_t first = i % pieces * kPiece;
            RunPiece(buffers, i / pieces, first, static_cast<size_t>(std::min(length - first, kPiece)));
          }
        });
    return absl::OkStatus();
  }

 private:
  static constexpr int64_t kPiece = 512;    // floats that stay in the first cache with the operands'
  static constexpr int64_t kGrain = 16384;  // elements worth waking the team for: some µs

  // Elements `first` to `first + count` of row `row`.
  void RunPiece(const StepBuffers& buffers, int64_t row, int64_t first, size_t count) const {
    alignas(64) float result[kPiece], operand[kPiece];
    Load(buffers, 0, row, first, {result, count});
    for (size_t k = 1; k < operands_.size(); ++k) {
      Load(buffers, k, row, first, {operand, count});
      Combine({operand, count}, {result, count});
    }
    for (const PostOp& post_op : post_ops_)
      for (size_t i = 0; i < count; ++i) result[i] = ApplyPostOp(post_op, result[i], 0.0f);
    std::byte* out =
        buffers.outputs[0] + (row * rows_.length() + first) * static_cast<int64_t>(SizeOf(dtype_));
    if (!quant_) {
      std::copy_n(result, count, reinterpret_cast<float*>(out));
    } else if (dtype_ == DType::kU8) {
      Quantize({result, count}, quant_->scale(), quant_->zero_point(),
               {reinterpret_cast<uint8_t*>(out), count});
    } else {
      Quantize({result, count}, quant_->scale(), quant_->zero_point(),
               {reinterpret_cast<int8_t*>(out), count});
    }
  }

  void Load(const StepBuffers& buffers, size_t k, int64_t row, int64_t first, std::span<float> to) const {
    const TensorSpec& operand = operands_[k];
    const int64_t stride = rows_.stride(k), at = rows_.Begin(k, row) + first * stride;
    const auto load = [&](auto zero) {
      using T = decltype(zero);
      const T* from = reinterpret_cast<const T*>(buffers.inputs[k]) + at;
      const auto real = [&](T x) {
        if constexpr (std::is_same_v<T, float>) return x;
        return DequantizeValue(x, operand.quant->scale(), operand.quant->zero_point());
      };
      if (stride == 0) {
        std::ranges::fill(to, real(*from));
      } else if (stride == 1) {
        for (size_t i = 0; i < to.size(); ++i) to[i] = real(from[i]);
      } else {
        for (size_t i = 0; i < to.size(); ++i) to[i] = real(from[static_cast<int64_t>(i) * stride]);
      }
    };
    if (operand.dtype == DType::kF32) {
      load(float{});
    } else if (operand.dtype == DType::kU8) {
      load(uint8_t{});
    } else {
      load(int8_t{});
    }
  }

  void Combine(std::span<const float> b, std::span<float> a) const {
    const auto each = [&](const auto& fn) {
      for (size_t i = 0; i < a.size(); ++i) a[i] = fn(a[i], b[i]);
    };
    switch (kind_) {
      case BroadcastKind::kAdd:
        return each([](float x, float y) { return x + y; });
      case BroadcastKind::kSub:
        return each([](float x, float y) { return x - y; });
      case BroadcastKind::kMul:
        return each([](float x, float y) { return x * y; });
      case BroadcastKind::kDiv:
        return each([](float x, float y) { return x / y; });
      case BroadcastKind::kMax:
        return each([](float x, float y) { return x < y ? y : x; });
      case BroadcastKind::kMin:
        return each([](float x, float y) { return y < x ? y : x; });
      case BroadcastKind::kPow:
        return each([](float x, float y) { return y == 2.0f ? x * x : std::pow(x, y); });
    }
  }

  const BroadcastKind kind_;
  const BroadcastRows rows_;
  const std::vector<TensorSpec> operands_;
  const DType dtype_;
  const std::optional<QuantParams> quant_;
  const std::vector<PostOp> post_ops_;
};

absl::StatusOr<StepMaker> TakeInRows(const LowerContext& context, BroadcastKind kind) {
  const Node& node = context.node;
  RETURN_IF_ERROR(CheckRealInputs(node));
  for (const PostOp& post_op : node.post_ops)
    if (post_op.kind == PostOp::Kind::kAdd)
      return absl::UnimplementedError("a residual has no kernel here, expected none");
  const TensorSpec dst = context.Output();
  std::vector<TensorSpec> operands;
  for (size_t k = 0; k < node.inputs.size(); ++k) {
    operands.push_back(context.Input(k));
    if (operands.back().quant && !operands.back().quant->per_tensor())
      return absl::UnimplementedError("an operand quantized per channel has no kernel, expected per tensor");
  }
  BroadcastRows rows = BroadcastRows::Of(dst, operands);
  return [kind, rows = std::move(rows), operands = std::move(operands), dst, post_ops = node.post_ops] {
    return std::make_unique<BroadcastStep>(kind, rows, operands, dst, post_ops);
  };
}

std::optional<BinarySpec::Kind> KindInLibrary(BroadcastKind kind) {
  switch (kind) {
    case BroadcastKind::kAdd:
      return BinarySpec::Kind::kAdd;
    case BroadcastKind::kSub:
      return BinarySpec::Kind::kSub;
    case BroadcastKind::kMul:
      return BinarySpec::Kind::kMul;
    case BroadcastKind::kDiv:
      return BinarySpec::Kind::kDiv;
    case BroadcastKind::kMax:
      return BinarySpec::Kind::kMax;
    case BroadcastKind::kMin:
      return BinarySpec::Kind::kMin;
    case BroadcastKind::kPow:
      return std::nullopt;
  }
  return std::nullopt;
}

}  // namespace

std::vector<Offer> BroadcastOffers(BroadcastKind kind) {
  std::vector<Offer> offers;
  if (const auto in_library = KindInLibrary(kind))
    offers.push_back({.name = "onednn", .take = [kind = *in_library](const LowerContext& context) {
                        return TakeInLibrary(context, kind);
                      }});
  offers.push_back({.name = "hachi_broadcast",
                    .take = [kind](const LowerContext& context) { return TakeInRows(context, kind); }});
  return offers;
}

}  // namespace hachi
