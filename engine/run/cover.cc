#include "engine/run/cover.h"

#include <algorithm>
#include <cmath>
#include <utility>

namespace hachi {
namespace {

// What one more run costs, in rows' worth of time: the fixed cost of its steps. Guessed between a small
// network's (several rows) and a large one's (none).
constexpr double kRunOverheadRows = 0.5;

}  // namespace

Cover::Cover(std::vector<int64_t> sizes)
    : sizes_(std::move(sizes)), first_(static_cast<size_t>(sizes_.back()) + 1) {
  std::vector<double> cost(first_.size());
  for (size_t rows = 1; rows < first_.size(); ++rows) {
    cost[rows] = INFINITY;
    for (size_t i = 0; i < sizes_.size(); ++i) {
      const auto size = static_cast<size_t>(sizes_[i]);
      const double total =
          static_cast<double>(size) + kRunOverheadRows + (size < rows ? cost[rows - size] : 0.0);
      if (total < cost[rows]) {
        cost[rows] = total;
        first_[rows] = i;
      }
    }
  }
}

size_t Cover::First(int64_t rows) const { return first_[static_cast<size_t>(std::min(rows, sizes_.back()))]; }

std::vector<int64_t> PlanSizes(int64_t max_rows) {
  std::vector<int64_t> sizes;
  for (int64_t size = 1; size < max_rows; size *= 2) sizes.push_back(size);
  sizes.push_back(max_rows);
  return sizes;
}

}  // namespace hachi
