#include "engine/ops/compare.h"

#include <functional>

#include "absl/strings/str_cat.h"
#include "engine/base/status_macros.h"
#include "engine/cpu/team.h"
#include "engine/ops/broadcast.h"
#include "engine/ops/infer.h"
#include "engine/ops/quantized.h"

namespace hachi {
namespace {

template <typename Compare>
class ComparisonStep final : public KernelStep {
 public:
  ComparisonStep(DType dtype, BroadcastRows rows) : dtype_(dtype), rows_(std::move(rows)) {}

 protected:
  absl::Status Run(const StepBuffers& buffers) const override {
    VisitDType(dtype_, [&](auto zero) {
      using T = decltype(zero);
      const int64_t length = rows_.length(), a_stride = rows_.stride(0), b_stride = rows_.stride(1);
      ParallelFor(rows_.count(), kGrain / (length + 1) + 1, [&](int64_t begin, int64_t end) {
        for (int64_t row = begin; row < end; ++row) {
          const T* a = reinterpret_cast<const T*>(buffers.inputs[0]) + rows_.Begin(0, row);
          const T* b = reinterpret_cast<const T*>(buffers.inputs[1]) + rows_.Begin(1, row);
          bool* out = reinterpret_cast<bool*>(buffers.outputs[0]) + row * length;
          for (int64_t i = 0; i < length; ++i) out[i] = Compare()(a[i * a_stride], b[i * b_stride]);
        }
      });
    });
    return absl::OkStatus();
  }

 private:
  static constexpr int64_t kGrain = 16384;  // elements worth waking the team for: some µs

  const DType dtype_;
  const BroadcastRows rows_;
};

}  // namespace

absl::Status InferComparison(Node& node, Comparison comparison) {
  RETURN_IF_ERROR(CheckInputCount(node, 2, 2));
  if (comparison == Comparison::kEqual)
    RETURN_IF_ERROR(CheckInputType(node, 0, {DType::kF32, DType::kS32, DType::kS64, DType::kBool}));
  else
    RETURN_IF_ERROR(CheckInputType(node, 0, {DType::kF32, DType::kS32, DType::kS64}));
  RETURN_IF_ERROR(CheckInputType(node, 1, {node.inputs[0]->dtype}));
  ASSIGN_OR_RETURN(SymbolicShape dims, BroadcastDims(*node.inputs[0]->dims, *node.inputs[1]->dims));
  return SetOutput(node, DType::kBool, std::move(dims));
}

absl::Status ReferenceComparison(std::span<const TensorView> inputs, std::span<Tensor> outputs,
                                 bool (*compare)(double, double)) {
  const Shape& shape = outputs[0].shape();
  for (int64_t i = 0; i < outputs[0].count(); ++i) {
    const int64_t a = BroadcastIndex(i, shape, inputs[0].shape),
                  b = BroadcastIndex(i, shape, inputs[1].shape);
    if (inputs[0].dtype == DType::kF32) {
      outputs[0].As<bool>()[i] = compare(inputs[0].As<float>()[a], inputs[1].As<float>()[b]);
    } else {
      // Integers beyond 2^53 are not doubles; the sign of their difference is.
      const auto left = static_cast<__int128>(IntegerAt(inputs[0], a)),
                 right = static_cast<__int128>(IntegerAt(inputs[1], b));
      outputs[0].As<bool>()[i] = compare(static_cast<double>(left - right), 0.0);
    }
  }
  return absl::OkStatus();
}

std::vector<Offer> ComparisonOffers(Comparison comparison) {
  const auto take = [comparison](const LowerContext& context) -> absl::StatusOr<StepMaker> {
    const TensorSpec operands[] = {context.Input(0), context.Input(1)};
    return [comparison, dtype = operands[0].dtype,
            rows = BroadcastRows::Of(context.Output(), operands)]() -> absl::StatusOr<std::unique_ptr<Step>> {
      switch (comparison) {
        case Comparison::kEqual:
          return std::make_unique<ComparisonStep<std::equal_to<>>>(dtype, rows);
        case Comparison::kLess:
          return std::make_unique<ComparisonStep<std::less<>>>(dtype, rows);
        case Comparison::kGreater:
          return std::make_unique<ComparisonStep<std::greater<>>>(dtype, rows);
      }
      return absl::InternalError("unknown comparison");
    };
  };
  return {{.name = "hachi_compare", .take = take}};
}

}  // namespace hachi
