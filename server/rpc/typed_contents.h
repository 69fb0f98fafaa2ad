#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/tensor/dtype.h"
#include "server/rpc/chunks.h"

namespace hachi::server {

// The elements of an InferTensorContents, as it came, as dense little-endian bytes of `dtype`. `reserve` is
// asked first for as many: eight may come as one. INVALID_ARGUMENT when there are not `count` elements in the
// one field that belongs to the datatype, when another field has some too, when one is out of the datatype's
// range, for FP16 and BF16, which have no field, and for what is no such message; else what `reserve`
// answers.
absl::StatusOr<std::vector<std::byte>> DenseBytes(const Chunks& contents, DType dtype, int64_t count,
                                                  const std::function<absl::Status(int64_t bytes)>& reserve);

}  // namespace hachi::server
