#pragma once

#include <cstdint>
#include <utility>

#include "engine/tensor/dtype.h"

namespace hachi {

// Calls `fn` with a zero of the unsigned type that is as large as `dtype`: for what only moves elements.
template <typename Fn>
void VisitBits(DType dtype, Fn&& fn) {
  switch (SizeOf(dtype)) {
    case 1:
      return std::forward<Fn>(fn)(uint8_t{});
    case 2:
      return std::forward<Fn>(fn)(uint16_t{});
    case 4:
      return std::forward<Fn>(fn)(uint32_t{});
    default:
      return std::forward<Fn>(fn)(uint64_t{});
  }
}

}  // namespace hachi
