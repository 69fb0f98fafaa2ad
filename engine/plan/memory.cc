#include "engine/plan/memory.h"

#include <algorithm>
#include <numeric>

namespace hachi {
namespace {

constexpr size_t kAlignment = 64;

size_t Align(size_t bytes) { return (bytes + kAlignment - 1) / kAlignment * kAlignment; }

}  // namespace

MemoryLayout LayOut(std::span<const Lifetime> pieces) {
  std::vector<size_t> order(pieces.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::ranges::stable_sort(order, [&](size_t a, size_t b) { return pieces[a].bytes > pieces[b].bytes; });

  MemoryLayout layout{.offsets = std::vector<size_t>(pieces.size())};
  std::vector<size_t> placed;  // by offset
  for (const size_t piece : order) {
    size_t offset = 0;
    for (const size_t other : placed) {
      if (pieces[other].last < pieces[piece].first || pieces[piece].last < pieces[other].first) continue;
      if (offset + pieces[piece].bytes <= layout.offsets[other]) break;
      offset = std::max(offset, Align(layout.offsets[other] + pieces[other].bytes));
    }
    layout.offsets[piece] = offset;
    layout.arena_bytes = std::max(layout.arena_bytes, Align(offset + pieces[piece].bytes));
    placed.insert(std::ranges::upper_bound(placed, offset, {}, [&](size_t p) { return layout.offsets[p]; }),
                  piece);
  }
  return layout;
}

}  // namespace hachi
