#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace hachi {

// Concrete dimensions in ONNX order, outermost first. A scalar is {}.
using Shape = std::vector<int64_t>;

// Product of the dimensions. REQUIRES: none is negative and the product fits (see CheckedCount for input).
int64_t CountOf(std::span<const int64_t> shape);

// The product for shapes that come from outside: INVALID_ARGUMENT on a negative dimension or when
// product × element_bytes passes 2^62.
absl::StatusOr<int64_t> CheckedCount(std::span<const int64_t> shape, size_t element_bytes);

// "[1,3,224,224]".
std::string ShapeText(std::span<const int64_t> shape);

}  // namespace hachi
