#include "engine/ops/quantized.h"

#include "engine/tensor/half.h"

namespace hachi {

int64_t IntegerAt(const TensorView& tensor, int64_t i) {
  int64_t integer = 0;
  VisitDType(tensor.dtype, [&](auto zero) {
    integer = static_cast<int64_t>(tensor.As<decltype(zero)>()[static_cast<size_t>(i)]);
  });
  return integer;
}

float RealAt(const TensorView& tensor, int64_t i, const std::optional<QuantParams>& quant) {
  if (quant) return static_cast<float>(IntegerAt(tensor, i) - quant->zero_point()) * quant->scale();
  if (tensor.dtype == DType::kBF16) return FloatOfBf16(reinterpret_cast<const uint16_t*>(tensor.bytes)[i]);
  float real = 0.0f;
  VisitDType(tensor.dtype, [&](auto zero) {
    real = static_cast<float>(tensor.As<decltype(zero)>()[static_cast<size_t>(i)]);
  });
  return real;
}

void StoreReal(Tensor& tensor, int64_t i, float value, const std::optional<QuantParams>& quant) {
  StoreReal(tensor, i, value, quant ? quant->scale() : 1.0f, quant ? quant->zero_point() : 0);
}

void StoreReal(Tensor& tensor, int64_t i, float value, float scale, int32_t zero_point) {
  if (tensor.dtype() == DType::kBF16) {
    reinterpret_cast<uint16_t*>(tensor.bytes().data())[i] = Bf16OfFloat(value);
    return;
  }
  VisitDType(tensor.dtype(), [&](auto zero) {
    using T = decltype(zero);
    T& element = tensor.As<T>()[static_cast<size_t>(i)];
    if constexpr (std::is_floating_point_v<T>) {
      element = static_cast<T>(value);
    } else if constexpr (std::is_same_v<T, bool>) {
      element = value != 0.0f;
    } else {
      element = QuantizeValue<T>(value, scale, zero_point);
    }
  });
}

float ApplyPostOps(const Node& node, std::span<const TensorView> inputs, int64_t i, float value) {
  for (const PostOp& post_op : node.post_ops) {
    const bool add = post_op.kind == PostOp::Kind::kAdd;
    value = ApplyPostOp(post_op, value,
                        add ? RealAt(inputs[post_op.operand], i, node.inputs[post_op.operand]->quant) : 0.0f);
  }
  return value;
}

}  // namespace hachi
