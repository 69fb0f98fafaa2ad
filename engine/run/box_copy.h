#pragma once

#include <cstddef>

#include "engine/tensor/shape.h"

namespace hachi {

// Copies the leading corner of shape `box` from one dense row-major tensor into another. REQUIRES: all have
// the same rank, and `box` fits in both shapes.
void CopyBox(const std::byte* src, const Shape& src_shape, std::byte* dst, const Shape& dst_shape,
             const Shape& box, size_t element_bytes);

}  // namespace hachi
