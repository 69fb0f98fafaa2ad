#pragma once

#include <array>

#include "engine/base/status_macros.h"
#include "engine/kernels/lut.h"
#include "engine/ops/op.h"
#include "engine/ops/take.h"
#include "engine/tensor/tensor_spec.h"

namespace hachi {

// The output's bytes for every byte that the input can have. Out is uint8_t (also for s8: bytes are bit
// patterns here) or float.
template <typename Out>
class TableStep final : public KernelStep {
 public:
  TableStep(size_t count, const std::array<Out, 256>& table) : count_(count), table_(table) {}

 protected:
  absl::Status Run(const StepBuffers& buffers) const override {
    MapBytes({reinterpret_cast<const uint8_t*>(buffers.inputs[0]), count_}, table_,
             {reinterpret_cast<Out*>(buffers.outputs[0]), count_});
    return absl::OkStatus();
  }

 private:
  const size_t count_;
  const std::array<Out, 256> table_;
};

// fn of every real number that a quantized u8 or s8 `src` can hold, by its bits.
template <typename Fn>
std::array<float, 256> RealTable(const TensorSpec& src, const Fn& fn) {
  return TableOf<uint8_t, float>([&](uint8_t bits) {
    const int32_t q = src.dtype == DType::kU8 ? bits : static_cast<int8_t>(bits);
    return fn(DequantizeValue(q, src.quant->scale(), src.quant->zero_point()));
  });
}

// The same as bits of a quantized u8 or s8 `dst`.
template <typename Fn>
std::array<uint8_t, 256> IntegerTable(const TensorSpec& src, const TensorSpec& dst, const Fn& fn) {
  const auto reals = RealTable(src, fn);
  const float scale = dst.quant->scale();
  const int32_t zero_point = dst.quant->zero_point();
  return TableOf<uint8_t, uint8_t>([&](uint8_t bits) {
    return dst.dtype == DType::kU8
               ? QuantizeValue<uint8_t>(reals[bits], scale, zero_point)
               : static_cast<uint8_t>(QuantizeValue<int8_t>(reals[bits], scale, zero_point));
  });
}

// Takes any function of one real number where input 0 is quantized u8 or s8, and the output f32 or quantized
// in the same layout.
template <typename Fn>
absl::StatusOr<StepMaker> TakeTable(const LowerContext& context, Fn fn) {
  const TensorSpec src = context.Input(0), dst = context.Output();
  if (!src.is_quantized_byte())
    return absl::UnimplementedError("input is no u8 or s8 with a scale, expected one");
  RETURN_IF_ERROR(CheckOneLayout(src, dst));
  return [src, dst, fn = std::move(fn)]() -> absl::StatusOr<std::unique_ptr<Step>> {
    const auto count = static_cast<size_t>(src.count());
    if (dst.quant) return std::make_unique<TableStep<uint8_t>>(count, IntegerTable(src, dst, fn));
    return std::make_unique<TableStep<float>>(count, RealTable(src, fn));
  };
}

}  // namespace hachi
