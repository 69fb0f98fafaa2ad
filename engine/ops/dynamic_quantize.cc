// Quantization by what a run finds. DynamicQuantizeLinear (ONNX opset 11) to u8: one scale for the whole
// tensor or, with our attribute `by_row`, one for each row of its last axis. Products multiply the integers
// as they are (our attribute `as_numbers`: they stand for themselves), and RescaleRows, an operator of ours,
// makes real numbers of the sums: see FuseDynamicProducts.
#include <algorithm>
#include <cmath>
#include <vector>

#include "absl/strings/str_cat.h"
#include "engine/base/status_macros.h"
#include "engine/cpu/team.h"
#include "engine/kernels/quantize.h"
#include "engine/kernels/reduce.h"
#include "engine/kernels/rescale_rows.h"
#include "engine/ops/infer.h"
#include "engine/ops/op.h"
#include "engine/ops/quantized.h"
#include "engine/ops/take.h"

namespace hachi {
namespace {

// ---- DynamicQuantizeLinear

absl::StatusOr<bool> ByRow(const Node& node) {
  ASSIGN_OR_RETURN(const int64_t by_row, node.Int("by_row", 0));
  return by_row != 0;
}

absl::Status InferQuantize(Node& node) {
  RETURN_IF_ERROR(CheckInputCount(node, 1, 1));
  RETURN_IF_ERROR(CheckInputType(node, 0, {DType::kF32}));
  ASSIGN_OR_RETURN(const bool by_row, ByRow(node));
  ASSIGN_OR_RETURN(const int64_t as_numbers, node.Int("as_numbers", 0));
  if (by_row) RETURN_IF_ERROR(CheckRank(node, 0, 1, 12));
  if (node.outputs.size() != 3)
    return absl::InvalidArgumentError(absl::StrCat(node.outputs.size(), " outputs, expected 3"));
  const SymbolicShape& dims = *node.inputs[0]->dims;
  SymbolicShape rows;
  if (by_row) {
    rows = dims;
    rows.back() = 1;
  }
  constexpr DType kTypes[] = {DType::kU8, DType::kF32, DType::kU8};
  for (size_t i = 0; i < 3; ++i) {
    node.outputs[i]->dtype = kTypes[i];
    node.outputs[i]->dims = i == 0 ? dims : rows;
  }
  node.outputs[0]->quant.reset();
  if (as_numbers != 0) node.outputs[0]->quant = QuantParams::PerTensor(1.0f, 0);
  return absl::OkStatus();
}

// The scale and zero point for elements from `low` to `high`.
RowQuant QuantOf(float low, float high) {
  low = std::min(low, 0.0f);
  high = std::max(high, 0.0f);
  const float scale = high > low ? (high - low) / 255.0f : 1.0f;
  return {scale, int32_t{QuantizeValue<uint8_t>(-low, scale, 0)}};
}

absl::Status ReferenceQuantize(const Node& node, std::span<const TensorView> inputs,
                               std::span<Tensor> outputs) {
  const auto x = inputs[0].As<float>();
  ASSIGN_OR_RETURN(const bool by_row, ByRow(node));
  const size_t length = by_row ? static_cast<size_t>(inputs[0].shape.back()) : x.size();
  for (size_t row = 0; row * length < x.size(); ++row) {
    float low = 0, high = 0;
    for (const float element : x.subspan(row * length, length)) {
      low = std::min(low, element);
      high = std::max(high, element);
    }
    const RowQuant quant = QuantOf(low, high);
    outputs[1].As<float>()[row] = quant.scale;
    outputs[2].As<uint8_t>()[row] = static_cast<uint8_t>(quant.zero_point);
    for (size_t i = row * length; i < (row + 1) * length; ++i)
      outputs[0].As<uint8_t>()[i] = QuantizeValue<uint8_t>(x[i], quant.scale, quant.zero_point);
  }
  return absl::OkStatus();
}

class QuantizeRowsStep final : public KernelStep {
 public:
  QuantizeRowsStep(int64_t rows, int64_t length) : rows_(rows), length_(length) {}

 protected:
  absl::Status Run(const StepBuffers& buffers) const override {
    constexpr int64_t kGrain = 1 << 13;  // elements worth waking the team for
    ParallelFor(rows_, std::max<int64_t>(1, kGrain / length_), [&](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; ++row) QuantizeRow(buffers, row);
    });
    return absl::OkStatus();
  }

 private:
  void QuantizeRow(const StepBuffers& buffers, int64_t row) const {
    const auto length = static_cast<size_t>(length_);
    const std::span in(reinterpret_cast<const float*>(buffers.inputs[0]) + row * length_, length);
    float low, high;
    Reduce(Reduction::kMin, in, length_, 1, {&low, 1});
    Reduce(Reduction::kMax, in, length_, 1, {&high, 1});
    const RowQuant quant = QuantOf(low, high);
    reinterpret_cast<float*>(buffers.outputs[1])[row] = quant.scale;
    reinterpret_cast<uint8_t*>(buffers.outputs[2])[row] = static_cast<uint8_t>(quant.zero_point);
    Quantize(in, quant.scale, quant.zero_point,
             std::span(reinterpret_cast<uint8_t*>(buffers.outputs[0]) + row * length_, length));
  }

  const int64_t rows_, length_;
};

absl::StatusOr<StepMaker> TakeQuantize(const LowerContext& context) {
  ASSIGN_OR_RETURN(const bool by_row, ByRow(context.node));
  for (const Value* value : {context.node.inputs[0], context.node.outputs[0]})
    RETURN_IF_ERROR(CheckRowMajor(context, value));
  const Shape shape = context.Input(0).shape;
  const int64_t count = CountOf(shape), length = by_row ? shape.back() : count;
  return [rows = count / length, length] { return std::make_unique<QuantizeRowsStep>(rows, length); };
}

absl::StatusOr<RowAxis> RowsOfQuantize(const RowQuery& query) {
  ASSIGN_OR_RETURN(const bool by_row, ByRow(query.node));
  const RowAxis rows = query.inputs[0];
  if (rows && (!by_row || *rows + 1 == query.node.inputs[0]->rank())) return MixesRows(*rows);
  return rows;
}

// ---- RescaleRows(sums, scale, zero_point, column_sums, bias)

absl::Status InferRescale(Node& node) {
  RETURN_IF_ERROR(CheckInputCount(node, 4, 5));
  RETURN_IF_ERROR(CheckInputType(node, 0, {DType::kF32}));
  RETURN_IF_ERROR(CheckInputType(node, 1, {DType::kF32}));
  RETURN_IF_ERROR(CheckInputType(node, 2, {DType::kU8}));
  RETURN_IF_ERROR(CheckRank(node, 0, 1, 12));
  const SymbolicShape& dims = *node.inputs[0]->dims;
  SymbolicShape rows = dims;
  rows.back() = 1;
  for (const size_t i : {1, 2})
    if (node.inputs[i]->rank() != 0 && *node.inputs[i]->dims != rows)
      return absl::InvalidArgumentError(absl::StrCat("'", node.inputs[i]->name, "' has shape ",
                                                     ShapeText(*node.inputs[i]->dims), ", expected ",
                                                     ShapeText(rows)));
  for (const size_t i : {3, 4})
    if (const Value* value = node.input(i); value != nullptr && *value->dims != SymbolicShape{dims.back()})
      return absl::InvalidArgumentError(absl::StrCat("'", value->name, "' has shape ",
                                                     ShapeText(*value->dims), ", expected [",
                                                     dims.back().ToText(), "]"));
  return SetOutput(node, DType::kF32, dims);
}

absl::Status ReferenceRescale(const Node& node, std::span<const TensorView> inputs,
                              std::span<Tensor> outputs) {
  const int64_t columns = inputs[0].shape.back();
  for (int64_t i = 0; i < outputs[0].count(); ++i) {
    const int64_t row = inputs[1].count() == 1 ? 0 : i / columns, column = i % columns;
    const auto at = [&](size_t input, int64_t k) {
      return static_cast<double>(inputs[input].As<float>()[k]);
    };
    const double bias = node.input(4) == nullptr ? 0.0 : at(4, column);
    const auto zero = static_cast<double>(inputs[2].As<uint8_t>()[row]);
    outputs[0].As<float>()[i] = static_cast<float>((at(0, i) - zero * at(3, column)) * at(1, row) + bias);
  }
  return absl::OkStatus();
}

class RescaleRowsStep final : public Step {
 public:
  explicit RescaleRowsStep(const LowerContext& context)
      : Step({.in_place_input = 0}),
        count_(static_cast<size_t>(context.Output().count())),
        quants_(static_cast<size_t>(context.Input(1).count())),
        sums_(context.node.inputs[3]->constant),
        bias_(context.node.input(4) == nullptr ? nullptr : context.node.inputs[4]->constant) {}

  bool Reads(size_t input) const override { return input < 3; }

  std::unique_ptr<StepState> Bind(StepBuffers buffers) const override {
    auto state = std::make_unique<State>();
    state->buffers = std::move(buffers);
    state->quants.resize(quants_);
    return state;
  }

  absl::Status Run(StepState& step_state, Stream& /*stream*/) const override {
    auto& state = static_cast<State&>(step_state);
    for (size_t i = 0; i < quants_; ++i)
      state.quants[i] = {reinterpret_cast<const float*>(state.buffers.inputs[1])[i],
                         int32_t{reinterpret_cast<const uint8_t*>(state.buffers.inputs[2])[i]}};
    auto* sums = reinterpret_cast<float*>(state.buffers.outputs[0]);
    RescaleRows({sums, count_}, state.quants, sums_->As<float>(),
                bias_ == nullptr ? std::span<const float>() : bias_->As<float>(), sums);
    return absl::OkStatus();
  }

 private:
  struct State : StepState {
    StepBuffers buffers;
    std::vector<RowQuant> quants;
  };

  const size_t count_, quants_;
  const std::shared_ptr<const Tensor> sums_, bias_;
};

absl::StatusOr<StepMaker> TakeRescale(const LowerContext& context) {
  for (const Value* value : {context.node.inputs[0], context.node.outputs[0]})
    RETURN_IF_ERROR(CheckRowMajor(context, value));
  for (const size_t i : {3, 4})
    if (const Value* value = context.node.input(i); value != nullptr && !value->is_constant())
      return absl::UnimplementedError(absl::StrCat("'", value->name, "' is computed, expected a constant"));
  return [&context] { return std::make_unique<RescaleRowsStep>(context); };
}

absl::StatusOr<RowAxis> RowsOfRescale(const RowQuery& query) {
  std::vector<RowAxis> found;
  for (size_t i = 0; i < 3; ++i)
    if (query.inputs[i]) found.push_back(query.inputs[i]);
  ASSIGN_OR_RETURN(const RowAxis rows, OneRowAxis(found));
  if (rows && *rows + 1 == query.node.inputs[0]->rank()) return MixesRows(*rows);
  return rows;
}

}  // namespace

std::span<const OpDef> dynamic_quantize_ops() {
  static const OpDef defs[] = {{.name = "DynamicQuantizeLinear",
                                .infer = InferQuantize,
                                .rows = RowsOfQuantize,
                                .reference = ReferenceQuantize,
                                .offers = {{.name = "hachi_quantize_rows", .take = TakeQuantize}}},
                               {.name = "RescaleRows",
                                .infer = InferRescale,
                                .rows = RowsOfRescale,
                                .reference = ReferenceRescale,
                                .offers = {{.name = "hachi_rescale_rows", .take = TakeRescale}}}};
  return defs;
}

}  // namespace hachi
