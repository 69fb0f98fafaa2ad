#pragma once

#include <cstdint>

namespace hachi {

// Integers from `lowest` to `highest`, both included.
struct IntegerRange {
  int64_t lowest, highest;

  bool Contains(int64_t x) const { return lowest <= x && x <= highest; }
};

}  // namespace hachi
