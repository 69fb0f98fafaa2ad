#pragma once

#include <cstddef>
#include <cstdint>

namespace hachi {

// out[i] = condition[i] ? a[i] : b[i] for i < count, on 32 bits of any meaning, on the calling thread alone.
// A source that repeats is one element. `out` may be `a` or `b` where they do not repeat.
struct SelectSource {
  const uint32_t* data;
  bool repeats;
};
void Select(const bool* condition, SelectSource a, SelectSource b, size_t count, uint32_t* out);

}  // namespace hachi
