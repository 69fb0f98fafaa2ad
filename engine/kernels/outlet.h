#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <utility>

#include "absl/status/statusor.h"
#include "engine/kernels/row_copy.h"
#include "engine/tensor/dtype.h"
#include "engine/tensor/layout.h"
#include "engine/tensor/quant_params.h"
#include "engine/tensor/shape.h"

namespace hachi {

// From what the model's last step wrote to what clients get.
struct OutletSpec {
  DType dtype = DType::kF32;         // of the batch tensor
  std::optional<QuantParams> quant;  // per tensor; how its u8 or s8 stand for reals
  Layout layout;                     // of the batch tensor with its batch axis, which is outermost
  Shape row_shape;                   // in ONNX order, without the batch axis
  DType client_dtype = DType::kF32;  // f32 where `quant` is set; else that of the batch tensor
};

// Brings rows from the batch tensor into clients' memory, dense and row-major; dequantized (DequantizeValue)
// where `quant` is set.
//
// Thread-safe: immutable. Runs on the calling thread's team, without allocating.
class Outlet {
 public:
  // INVALID_ARGUMENT when the spec contradicts itself.
  static absl::StatusOr<Outlet> Create(const OutletSpec& spec);

  // `src` is where the first of these rows lies in the batch tensor; `dst` need not be aligned. REQUIRES:
  // `dst` has room for `rows` rows.
  void Run(const std::byte* src, int64_t rows, std::span<std::byte> dst) const {
    const std::span<const std::byte> chunk(src, static_cast<size_t>(rows) * row_bytes_);
    copy_.Run({&chunk, 1}, rows, dst.data());
  }

 private:
  Outlet(RowCopy copy, size_t row_bytes) : copy_(std::move(copy)), row_bytes_(row_bytes) {}
  RowCopy copy_;
  size_t row_bytes_;  // in the batch tensor
};

}  // namespace hachi
