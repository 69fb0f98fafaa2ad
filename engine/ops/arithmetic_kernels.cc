#include "engine/ops/arithmetic_kernels.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "engine/base/status_macros.h"
#include "engine/cpu/team.h"
#include "engine/kernels/quantize.h"
#include "engine/ops/broadcast.h"
#include "engine/ops/infer.h"
#include "engine/ops/onednn_step.h"

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

// Pieces of rows, or several rows where they are short, in memory order; each operand is brought to floats,
// combined, and stored.
class ArithmeticStep final : public KernelStep {
 public:
  ArithmeticStep(CombineFloats combine, BroadcastRows rows, std::vector<TensorSpec> operands,
                 const TensorSpec& result, std::vector<PostOp> post_ops)
      : combine_(combine),
        rows_(std::move(rows)),
        operands_(std::move(operands)),
        dtype_(result.dtype),
        quant_(result.quant),
        post_ops_(std::move(post_ops)) {
    for (size_t k = 0; k < operands_.size(); ++k) {
      is_whole_.push_back(rows_.IsWhole(k));
      repeats_.push_back(rows_.Repeats(k));
    }
  }

 protected:
  absl::Status Run(const StepBuffers& buffers) const override {
    const int64_t length = rows_.length(), pieces = (length + kPiece - 1) / kPiece;
    const int64_t rows = std::max<int64_t>(kPiece / std::max<int64_t>(length, 1), 1);  // of a piece
    const int64_t groups = (rows_.count() + rows - 1) / rows;
    ParallelFor(
        groups * pieces, kGrain / (rows * std::min(length, kPiece) + 1) + 1, [&](int64_t begin, int64_t end) {
          Floats floats;
          for (int64_t i = begin; i < end; ++i) {
            const int64_t row = i / pieces * rows, first = i % pieces * kPiece;
            RunPiece(buffers,
                     {row, std::min(rows, rows_.count() - row), first, std::min(length - first, kPiece)},
                     floats);
          }
        });
    return absl::OkStatus();
  }

 private:
  static constexpr int64_t kPiece = 512;    // floats that stay in the first cache with the operands'
  static constexpr int64_t kGrain = 16384;  // elements worth waking the team for: some µs
  static constexpr size_t kFew = 32;        // elements that are not worth a kernel's call

  // Elements `first` to `first + columns` of each of so many rows from `row` on; of more than one, all.
  struct Piece {
    int64_t row, rows, first, columns;
  };

  // What a thread works on: a piece of the result and of one operand. The operand stays as long as the next
  // rows have the same elements of it.
  struct Floats {
    alignas(64) float result[kPiece], operand[kPiece];
    size_t held = 0;  // number of the operand; 0: none that may stay
    Piece piece;
  };

  void RunPiece(const StepBuffers& buffers, const Piece& piece, Floats& floats) const {
    const auto [row, rows, first, columns] = piece;
    const auto count = static_cast<size_t>(rows * columns);
    const std::span<float> result(floats.result, count), operand(floats.operand, count);
    Load(buffers, 0, row, rows, first, result);
    for (size_t k = 1; k < operands_.size(); ++k) {
      if (floats.held != k || floats.piece.first != first || floats.piece.rows < rows ||
          !AreAlike(k, floats.piece.row, row + rows - 1)) {
        Load(buffers, k, row, rows, first, operand);
        floats.held = AreAlike(k, row, row + rows - 1) ? k : 0;
        floats.piece = piece;
      }
      combine_(result, operand);
    }
    for (const PostOp& post_op : post_ops_)
      for (float& each : result) each = ApplyPostOp(post_op, each, 0.0f);
    std::byte* out =
        buffers.outputs[0] + (row * rows_.length() + first) * static_cast<int64_t>(SizeOf(dtype_));
    if (!quant_) {
      std::ranges::copy(result, reinterpret_cast<float*>(out));
    } else if (dtype_ == DType::kU8) {
      QuantizeBy(result, 1.0f / quant_->scale(), quant_->zero_point(),
                 {reinterpret_cast<uint8_t*>(out), count});
    } else {
      QuantizeBy(result, 1.0f / quant_->scale(), quant_->zero_point(),
                 {reinterpret_cast<int8_t*>(out), count});
    }
  }

  // Whether the rows from `row` to `last` have the same elements of an operand.
  bool AreAlike(size_t k, int64_t row, int64_t last) const { return row / repeats_[k] == last / repeats_[k]; }

  void Load(const StepBuffers& buffers, size_t k, int64_t row, int64_t rows, int64_t first,
            std::span<float> to) const {
    const int64_t stride = rows_.stride(k);
    if (is_whole_[k]) return LoadRun(buffers, k, row * rows_.length() + first, 1, to);
    const size_t columns = to.size() / static_cast<size_t>(rows);
    int64_t before = -1;
    for (size_t r = 0; r < static_cast<size_t>(rows); ++r) {
      const int64_t at = rows_.Begin(k, row + static_cast<int64_t>(r)) + first * stride;
      const std::span<float> part = to.subspan(r * columns, columns);
      if (at == before)  // every row has the same
        std::ranges::copy(to.subspan((r - 1) * columns, columns), part.begin());
      else
        LoadRun(buffers, k, at, stride, part);
      before = at;
    }
  }

  // Elements from `at` on.
  void LoadRun(const StepBuffers& buffers, size_t k, int64_t at, int64_t stride, std::span<float> to) const {
    const TensorSpec& operand = operands_[k];
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
        if constexpr (std::is_same_v<T, float>) {
          std::copy_n(from, to.size(), to.begin());
        } else if (to.size() > kFew) {
          Dequantize(std::span(from, to.size()), operand.quant->scale(), operand.quant->zero_point(), to);
        } else {
          for (size_t i = 0; i < to.size(); ++i) to[i] = real(from[i]);
        }
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

  const CombineFloats combine_;
  const BroadcastRows rows_;
  const std::vector<TensorSpec> operands_;
  std::vector<bool> is_whole_;    // by operand
  std::vector<int64_t> repeats_;  // of rows, by operand
  const DType dtype_;
  const std::optional<QuantParams> quant_;
  const std::vector<PostOp> post_ops_;
};

absl::StatusOr<StepMaker> TakeInRows(const LowerContext& context, CombineFloats combine) {
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
  return [combine, rows = std::move(rows), operands = std::move(operands), dst, post_ops = node.post_ops] {
    return std::make_unique<ArithmeticStep>(combine, rows, operands, dst, post_ops);
  };
}

}  // namespace

std::vector<Offer> ArithmeticOffers(std::optional<BinarySpec::Kind> library, CombineFloats combine) {
  std::vector<Offer> offers;
  if (library)
    offers.push_back({.name = "onednn", .take = [kind = *library](const LowerContext& context) {
                        return TakeInLibrary(context, kind);
                      }});
  offers.push_back({.name = "hachi_broadcast",
                    .take = [combine](const LowerContext& context) { return TakeInRows(context, combine); }});
  return offers;
}

}  // namespace hachi
