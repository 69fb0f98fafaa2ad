#include "engine/plan/memory.h"

#include <algorithm>
#include <numeric>
#include <utility>
#include <vector>

namespace hachi {
namespace {

constexpr size_t kAlignment = 64;

// Pairs of pieces that are looked at before the rest gets room of its own: some seconds' work, and more than
// any network asks for. Guessed.
constexpr size_t kMaxPairs = size_t{1} << 25;

size_t Align(size_t bytes) { return (bytes + kAlignment - 1) / kAlignment * kAlignment; }

// Intervals of time, found by what they overlap. A tree over times: an interval lies in the few nodes that it
// fills, and is known to all above those.
class Intervals {
 public:
  explicit Intervals(int times) {
    while (leaves_ < static_cast<size_t>(times)) leaves_ *= 2;
    filled_.resize(2 * leaves_);
    begins_.resize(leaves_);
  }

  void Add(size_t id, int first, int last) {
    begins_[static_cast<size_t>(first)].push_back(id);
    size_t from = leaves_ + static_cast<size_t>(first), to = leaves_ + static_cast<size_t>(last) + 1;
    for (; from < to; from /= 2, to /= 2) {
      if (from % 2 == 1) filled_[from++].push_back(id);
      if (to % 2 == 1) filled_[--to].push_back(id);
    }
  }

  // Those that overlap, each once: what holds `first`, and what begins behind it.
  void Find(int first, int last, std::vector<size_t>& found) const {
    for (size_t node = leaves_ + static_cast<size_t>(first); node > 0; node /= 2)
      found.insert(found.end(), filled_[node].begin(), filled_[node].end());
    for (int time = first + 1; time <= last; ++time) {
      const auto& begins = begins_[static_cast<size_t>(time)];
      found.insert(found.end(), begins.begin(), begins.end());
    }
  }

 private:
  size_t leaves_ = 1;
  std::vector<std::vector<size_t>> filled_, begins_;
};

}  // namespace

MemoryLayout LayOut(std::span<const Lifetime> pieces) {
  std::vector<size_t> order(pieces.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::ranges::stable_sort(order, [&](size_t a, size_t b) { return pieces[a].bytes > pieces[b].bytes; });

  int before = 0, times = 1;  // times are counted from the least one
  for (const Lifetime& piece : pieces) before = std::min(before, piece.first);
  for (const Lifetime& piece : pieces) times = std::max(times, piece.last - before + 1);
  Intervals placed(times);
  MemoryLayout layout{.offsets = std::vector<size_t>(pieces.size())};
  std::vector<size_t> others;
  size_t pairs = 0;
  for (const size_t piece : order) {
    const int first = pieces[piece].first - before, last = pieces[piece].last - before;
    size_t offset = 0;
    if (pairs < kMaxPairs) {
      others.clear();
      placed.Find(first, last, others);
      pairs += others.size() + static_cast<size_t>(last - first);
      std::ranges::sort(others, {}, [&](size_t p) { return std::pair(layout.offsets[p], p); });
      for (const size_t other : others) {
        if (offset + pieces[piece].bytes <= layout.offsets[other]) break;
        offset = std::max(offset, Align(layout.offsets[other] + pieces[other].bytes));
      }
    } else {
      offset = layout.arena_bytes;
    }
    layout.offsets[piece] = offset;
    layout.arena_bytes = std::max(layout.arena_bytes, Align(offset + pieces[piece].bytes));
    placed.Add(piece, first, last);
  }
  return layout;
}

}  // namespace hachi
