#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/kernels/row_copy.h"
#include "engine/tensor/dtype.h"
#include "engine/tensor/layout.h"
#include "engine/tensor/quant_params.h"
#include "engine/tensor/shape.h"

namespace hachi {

// From what clients send to what the model's first step reads.
struct IntakeSpec {
  DType client_dtype = DType::kF32;
  bool client_channels_last = false;  // clients send the row's first axis innermost
  Shape row_shape;                    // in ONNX order, without the batch axis: {3, 224, 224}
  std::vector<float> mean;            // one a channel (the row's first axis), or one for all; empty: 0
  std::vector<float> scale;           // likewise; empty: 1
  DType dtype = DType::kF32;          // of the batch tensor; the client's own where nothing is converted
  std::optional<QuantParams>
      quant;      // per tensor; set exactly where the batch tensor's u8 or s8 stand for reals
  Layout layout;  // of the batch tensor with its batch axis, which is outermost
};

// Brings rows from clients' memory into the batch tensor in one pass: (x - mean[c]) * scale[c], quantized
// where `quant` is set, in the batch tensor's order. From f32 the arithmetic is that of float, step by step,
// then QuantizeValue. From u8 and s8 it is that of double with one rounding at the end, taken from a table of
// 256 entries a channel.
//
// Thread-safe: immutable. Runs on the calling thread's team, without allocating.
class Intake {
 public:
  // INVALID_ARGUMENT when the spec contradicts itself; UNIMPLEMENTED for a conversion other than from f32, u8
  // or s8 to f32, u8 or s8.
  static absl::StatusOr<Intake> Create(const IntakeSpec& spec);

  // `dst` is where the first of these rows lies in the batch tensor. Chunks may be split anywhere, even
  // inside an element, and may be empty. REQUIRES: together they hold at least `rows` rows.
  void Run(std::span<const std::span<const std::byte>> chunks, int64_t rows, std::byte* dst) const {
    copy_.Run(chunks, rows, dst);
  }

 private:
  explicit Intake(RowCopy copy) : copy_(std::move(copy)) {}
  RowCopy copy_;
};

}  // namespace hachi
