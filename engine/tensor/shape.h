#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "absl/container/inlined_vector.h"
#include "absl/status/statusor.h"

namespace hachi {

// Concrete dimensions in ONNX order, outermost first. A scalar is {}.
using Shape = std::vector<int64_t>;

// A number or a flag for each axis, or for each of some; up to rank 8 without memory of their own: runs do
// not allocate.
using AxisNumbers = absl::InlinedVector<int64_t, 8>;
using AxisFlags = absl::InlinedVector<bool, 8>;

// Product of the dimensions. REQUIRES: none is negative and the product fits (see CheckedCount for input).
int64_t CountOf(std::span<const int64_t> shape);

// The product for shapes that come from outside: INVALID_ARGUMENT on a negative dimension or when
// product × element_bytes passes 2^62.
absl::StatusOr<int64_t> CheckedCount(std::span<const int64_t> shape, size_t element_bytes);

// "[1,3,224,224]".
std::string ShapeText(std::span<const int64_t> shape);

}  // namespace hachi
