#pragma once

#include <cstddef>
#include <span>
#include <vector>

namespace hachi {

// A piece of memory that steps `first` to `last` use, both included.
struct Lifetime {
  size_t bytes;
  int first, last;
};

// Where pieces lie in one arena: those that live at the same time do not overlap, offsets are multiples
// of 64. Greedy by size, the lowest gap that fits (Pisarchyk and Lee, "Efficient Memory Management for Deep
// Neural Net Inference", 2020); beyond some millions of pairs that live together, each behind all others.
struct MemoryLayout {
  std::vector<size_t> offsets;  // one a piece
  size_t arena_bytes = 0;
};
MemoryLayout LayOut(std::span<const Lifetime> pieces);

}  // namespace hachi
