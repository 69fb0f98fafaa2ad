#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "absl/container/inlined_vector.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace hachi {

// Concrete dimensions in ONNX order, outermost first. A scalar is {}.
using Shape = std::vector<int64_t>;

// A number or a flag for each axis, or for each of some; up to rank 8 without memory of their own: runs do
// not allocate.
using AxisNumbers = absl::InlinedVector<int64_t, 8>;
using AxisFlags = absl::InlinedVector<bool, 8>;

// The greatest dimension that anything is made for: the library's descriptors and our kernels count in 32
// bits along an axis.
inline constexpr int64_t kMaxDim = (int64_t{1} << 31) - 1;

// Product of the dimensions; what doesn't fit is the largest number. REQUIRES: none is negative (see
// CheckedCount for input).
int64_t CountOf(std::span<const int64_t> shape);

// The product for shapes that come from outside: INVALID_ARGUMENT on a negative dimension or when
// product × element_bytes passes 2^62, also where a dimension of 0 beside the others leaves no elements:
// strides are products of the others.
absl::StatusOr<int64_t> CheckedCount(std::span<const int64_t> shape, size_t element_bytes);

// The most dimensions: the library's limit, and more than any operator of ONNX needs.
inline constexpr size_t kMaxRank = 12;

// Whether a tensor of these dimensions can be counted in: INVALID_ARGUMENT on a negative one,
// RESOURCE_EXHAUSTED on one beyond kMaxDim or where the bytes pass 2^40. Dimensions of 0 count as 1: strides
// are made of them too.
absl::Status CheckShape(std::span<const int64_t> shape, size_t element_bytes);

// "[1,3,224,224]".
std::string ShapeText(std::span<const int64_t> shape);

}  // namespace hachi
