#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace hachi {

// How a batch of n rows is cut into runs of sizes that have plans, padded where that is cheaper.
//
// Thread-safe: immutable.
class Cover {
 public:
  // REQUIRES: sizes ascend; at least one.
  explicit Cover(std::vector<int64_t> sizes);

  // The index of the size to run first. REQUIRES: rows >= 1.
  size_t First(int64_t rows) const;

 private:
  std::vector<int64_t> sizes_;
  std::vector<size_t> first_;  // by rows, up to the largest size
};

// Sizes that plans are made for: 1, 2, 4 ... and the largest itself.
std::vector<int64_t> PlanSizes(int64_t max_rows);

}  // namespace hachi
