#pragma once

#include <cstdint>
#include <span>

namespace hachi {

// QuantizeValue and DequantizeValue (engine/tensor/quant_params.h) of every element, exactly, on the calling
// thread's team. REQUIRES: spans of one size that do not overlap; the zero point is a value of the type.
void Quantize(std::span<const float> in, float scale, int32_t zero_point, std::span<uint8_t> out);
void Quantize(std::span<const float> in, float scale, int32_t zero_point, std::span<int8_t> out);
// The same of each element times its factor, of rows of as many elements as there are factors. REQUIRES: the
// rows are whole.
void QuantizeRows(std::span<const float> in, std::span<const float> factors, float scale, int32_t zero_point,
                  std::span<uint8_t> out);
void QuantizeRows(std::span<const float> in, std::span<const float> factors, float scale, int32_t zero_point,
                  std::span<int8_t> out);

// Elements times `factor`, where that is meant, and not a division by its inverse, whose last digit differs.
void QuantizeBy(std::span<const float> in, float factor, int32_t zero_point, std::span<uint8_t> out);
void QuantizeBy(std::span<const float> in, float factor, int32_t zero_point, std::span<int8_t> out);

void Dequantize(std::span<const uint8_t> in, float scale, int32_t zero_point, std::span<float> out);
void Dequantize(std::span<const int8_t> in, float scale, int32_t zero_point, std::span<float> out);

}  // namespace hachi
