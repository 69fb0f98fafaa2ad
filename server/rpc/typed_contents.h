#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/tensor/dtype.h"
#include "inference.pb.h"

namespace hachi::server {

// The elements of `contents` as dense little-endian bytes of `dtype`. INVALID_ARGUMENT when there are not
// `count` of them in the one field that belongs to the datatype, when another field has some too, when one is
// out of the datatype's range, and for FP16 and BF16, which have no field.
absl::StatusOr<std::vector<std::byte>> DenseBytes(const inference::InferTensorContents& contents, DType dtype,
                                                  int64_t count);

}  // namespace hachi::server
