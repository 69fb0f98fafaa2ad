#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "engine/tensor/dtype.h"
#include "engine/tensor/quant_params.h"

namespace hachi {

struct LayerNormSpec {
  int64_t row_length = 1;
  float epsilon = 1e-5f;
  std::vector<float> scale, bias;  // one for each element of a row
  DType from = DType::kF32;        // f32, u8 or s8
  DType to = DType::kF32;          // f32, u8 or s8
  QuantParams from_quant;          // per tensor; unused where `from` is f32
  QuantParams to_quant;            // per tensor; unused where `to` is f32
};

// (x - mean) / sqrt(variance + epsilon) * scale + bias for each row, mean and variance being the row's own. A
// row is read once from memory; while it is near, its mean is taken before its variance, so that large means
// cost no digits. A row's answer depends on nothing but the row and the instruction set. Error: at most 2e-6
// × (|scale| + |bias|) times the largest normalised element, as long as the mean is not much larger than the
// deviation; integers are the rounded result, one step off at most.
//
// Thread-safe: immutable. Runs on the calling thread's team, without allocating.
class LayerNorm {
 public:
  // REQUIRES: row_length is positive, scale and bias have that many elements.
  explicit LayerNorm(const LayerNormSpec& spec);

  // REQUIRES: `in` and `out` hold rows × row_length elements of their types; no overlap, unless the same
  // memory and types of one size.
  void Run(const std::byte* in, int64_t rows, std::byte* out) const;

 private:
  int64_t row_length_;
  DType from_, to_;
  float epsilon_;                    // in squared units of what is read
  std::vector<float> gain_, shift_;  // in units of what is written
  int32_t zero_point_ = 0;
};

}  // namespace hachi
