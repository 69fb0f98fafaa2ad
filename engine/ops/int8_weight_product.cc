// Int8WeightProduct, one of ours: rows of real numbers times a matrix [depth, columns] of s8 with a scale for
// each column, plus an optional bias as input 2. Weights take a quarter of the memory; sums are FP32.
#include <algorithm>
#include <cstring>
#include <memory>

#include "absl/strings/str_cat.h"
#include "engine/base/status_macros.h"
#include "engine/kernels/panel_products.h"
#include "engine/ops/infer.h"
#include "engine/ops/op.h"
#include "engine/ops/product.h"
#include "engine/ops/quantized.h"
#include "engine/ops/take.h"

namespace hachi {
namespace {

absl::Status Infer(Node& node) {
  RETURN_IF_ERROR(CheckInputCount(node, 2, 3));
  RETURN_IF_ERROR(CheckInputType(node, 0, {DType::kF32}));
  RETURN_IF_ERROR(CheckInputType(node, 1, {DType::kS8}));
  RETURN_IF_ERROR(CheckRank(node, 0, 1, 12));
  RETURN_IF_ERROR(CheckRank(node, 1, 2, 2));
  const SymbolicShape &x = *node.inputs[0]->dims, &weights = *node.inputs[1]->dims;
  const auto& quant = node.inputs[1]->quant;
  if (x.back() != weights[0] || !quant || (!quant->per_tensor() && quant->axis != 1))
    return absl::InvalidArgumentError(absl::StrCat("rows ", ShapeText(x), " and weights ", ShapeText(weights),
                                                   " do not fit, expected one depth and scales of columns"));
  if (const Value* bias = node.input(2); bias != nullptr && bias->dims != SymbolicShape{weights[1]})
    return absl::InvalidArgumentError(
        absl::StrCat("bias has shape ", ShapeText(*bias->dims), ", expected [", weights[1].ToText(), "]"));
  SymbolicShape dims = x;
  dims.back() = weights[1];
  return SetOutput(node, DType::kF32, std::move(dims));
}

absl::Status Reference(const Node& node, std::span<const TensorView> inputs, std::span<Tensor> outputs) {
  const int64_t depth = inputs[1].shape[0], columns = inputs[1].shape[1];
  for (int64_t i = 0; i < outputs[0].count(); ++i) {
    const int64_t column = i % columns;
    const Lane row{inputs[0], node.inputs[0]->quant, i / columns * depth, 1};
    const Lane weights{inputs[1], node.inputs[1]->quant, column, columns};
    double sum = Dot(row, weights, depth, column);
    if (node.input(2) != nullptr) sum += static_cast<double>(inputs[2].As<float>()[column]);
    outputs[0].As<float>()[i] = static_cast<float>(sum);
  }
  return absl::OkStatus();
}

// Panels, then the columns' scales.
AlignedBuffer Pack(const Tensor& weights, const QuantParams& quant) {
  constexpr int64_t kPanel = PanelMatrix::kPanel;
  const int64_t depth = weights.shape()[0], columns = weights.shape()[1],
                padded = PanelMatrix::Padded(columns);
  AlignedBuffer packed(static_cast<size_t>(padded * (depth + static_cast<int64_t>(sizeof(float)))));
  std::memset(packed.data(), 0, packed.size());
  auto* bytes = reinterpret_cast<int8_t*>(packed.data());
  auto* scales = reinterpret_cast<float*>(packed.data() + padded * depth);
  const auto values = weights.As<int8_t>();
  for (int64_t c = 0; c < columns; ++c) {
    scales[c] = quant.scales[quant.per_tensor() ? 0 : static_cast<size_t>(c)];
    for (int64_t k = 0; k < depth; ++k)
      bytes[c / kPanel * kPanel * depth + k * kPanel + c % kPanel] =
          values[static_cast<size_t>(k * columns + c)];
  }
  return packed;
}

class WeightProductStep final : public KernelStep {
 public:
  WeightProductStep(std::shared_ptr<const AlignedBuffer> packed, std::shared_ptr<const Tensor> bias,
                    int64_t rows, int64_t depth, int64_t columns)
      : KernelStep({.precision = "int8_weights"}),
        packed_(std::move(packed)),
        bias_(std::move(bias)),
        rows_(rows),
        depth_(depth),
        columns_(columns) {}

  bool Reads(size_t input) const override { return input == 0; }

 protected:
  absl::Status Run(const StepBuffers& buffers) const override {
    const auto* x = reinterpret_cast<const float*>(buffers.inputs[0]);
    auto* out = reinterpret_cast<float*>(buffers.outputs[0]);
    for (int64_t r = 0; r < rows_; ++r) {
      if (bias_ != nullptr)
        std::ranges::copy(bias_->As<float>(), out + r * columns_);
      else
        std::fill_n(out + r * columns_, columns_, 0.0f);
    }
    const int64_t padded = PanelMatrix::Padded(columns_);
    AddPanelProducts({x, rows_, depth_, depth_},
                     IntegerPanelMatrix{reinterpret_cast<const int8_t*>(packed_->data()),
                                        reinterpret_cast<const float*>(packed_->data() + padded * depth_),
                                        depth_, columns_},
                     out, columns_);
    return absl::OkStatus();
  }

 private:
  const std::shared_ptr<const AlignedBuffer> packed_;
  const std::shared_ptr<const Tensor> bias_;
  const int64_t rows_, depth_, columns_;
};

absl::StatusOr<StepMaker> Take(const LowerContext& context) {
  const Node& node = context.node;
  for (const Value* value : {node.inputs[0], node.outputs[0]}) RETURN_IF_ERROR(CheckRowMajor(context, value));
  const Value *weights = node.inputs[1], *bias = node.input(2);
  if (!weights->is_constant() || (bias != nullptr && !bias->is_constant()))
    return absl::UnimplementedError("weights or bias are computed, expected constants");
  const Shape& shape = weights->constant->shape();
  const TensorSpec src = context.Input(0);
  return [&cache = context.weights, constant = weights->constant, quant = *weights->quant,
          bias = bias == nullptr ? nullptr : bias->constant, depth = shape[0], columns = shape[1],
          rows = src.count() / std::max<int64_t>(shape[0], 1)]() -> absl::StatusOr<std::unique_ptr<Step>> {
    constexpr std::string_view kLayout = "hachi_weight_panels";
    ASSIGN_OR_RETURN(auto packed, cache.GetOrPack(constant.get(), {kLayout.begin(), kLayout.end()},
                                                  [&]() -> absl::StatusOr<AlignedBuffer> {
                                                    return Pack(*constant, quant);
                                                  }));
    return std::make_unique<WeightProductStep>(std::move(packed), bias, rows, depth, columns);
  };
}

absl::StatusOr<RowAxis> Rows(const RowQuery& query) {
  RETURN_IF_ERROR(OnlyFirstHoldsRows(query));
  if (query.inputs[0] && *query.inputs[0] + 1 == query.node.inputs[0]->rank())
    return MixesRows(*query.inputs[0]);
  return query.inputs[0];
}

int64_t Macs(const LowerContext& context) { return context.Output().count() * context.Input(1).shape[0]; }

}  // namespace

std::span<const OpDef> int8_weight_product_ops() {
  static const OpDef defs[] = {{.name = "Int8WeightProduct",
                                .infer = Infer,
                                .rows = Rows,
                                .reference = Reference,
                                .offers = {{.name = "hachi_weight_panels", .take = Take}},
                                .macs = Macs}};
  return defs;
}

}  // namespace hachi
