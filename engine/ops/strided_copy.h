#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "engine/tensor/layout.h"
#include "engine/tensor/shape.h"

namespace hachi {

// Copies a box of elements from one tensor's memory to another's.
//
// Thread-safe: immutable. Runs on the calling thread's team, without allocating.
class StridedCopy {
 public:
  // `shape` is the box; strides and begins are in elements, one stride for each axis: 0 repeats. With a
  // `table` each byte is mapped (element_bytes 1). REQUIRES: element_bytes is 1, 2, 4 or 8; the out strides
  // do not overlap.
  StridedCopy(const Shape& shape, int64_t in_begin, const std::vector<int64_t>& in_strides, int64_t out_begin,
              const std::vector<int64_t>& out_strides, size_t element_bytes,
              std::optional<std::array<uint8_t, 256>> table = std::nullopt);

  void Run(const std::byte* in, std::byte* out) const;

 private:
  struct Axis {
    int64_t size, in_stride, out_stride;
  };

  void CopyRow(const std::byte* in, std::byte* out) const;

  int64_t in_begin_, out_begin_;
  int64_t bytes_;            // of an element
  int64_t rows_ = 1;         // combinations of the outer axes
  std::vector<Axis> outer_;  // outermost in `out` first
  Axis inner_{1, 1, 1};
  std::optional<std::array<uint8_t, 256>> table_;
};

}  // namespace hachi
