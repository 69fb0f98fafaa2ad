#pragma once

#include <cstdint>

namespace hachi::server {

// How many of the numbers from 1 to `most` hold, where those that do come before those that do not. As
// std::ranges::partition_point over std::views::iota, which the distribution's clang does not compile.
template <typename Holds>
int64_t CountPrefix(int64_t most, Holds holds) {
  int64_t last = 0, beyond = most + 1;
  while (beyond - last > 1) {
    const int64_t middle = last + (beyond - last) / 2;
    (holds(middle) ? last : beyond) = middle;
  }
  return last;
}

}  // namespace hachi::server
