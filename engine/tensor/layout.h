#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "engine/tensor/shape.h"

namespace hachi {

// The order in which a tensor's elements lie in memory. Dimensions keep their ONNX order everywhere; a layout
// only says which axis is outermost in memory, which comes next, and which is innermost. Dense: no padding,
// no gaps.
//
// Thread-compatible.
class Layout {
 public:
  // The ONNX order: the last axis is innermost.
  Layout() = default;

  // Axis 1 innermost: [N,C,H,W] in memory as nhwc. The same as row-major for ranks below 3.
  static Layout ChannelsLast(size_t rank);

  // REQUIRES: `order` is a permutation of 0..rank-1, outermost first.
  static Layout FromOrder(std::vector<int> order);

  bool is_row_major() const { return order_.empty(); }

  // Axes, outermost first.
  std::vector<int> Order(size_t rank) const;

  // Elements (not bytes) to step for one more along each axis.
  std::vector<int64_t> StridesOf(std::span<const int64_t> shape) const;

  // Whether tensors of this shape lie in memory the same way under both layouts; axes of one element do not
  // count.
  bool SameBytes(const Layout& other, std::span<const int64_t> shape) const;

  // "row_major", "channels_last" or "order(0,2,1)".
  std::string ToText() const;

  friend bool operator==(const Layout&, const Layout&) = default;

 private:
  std::vector<int> order_;  // empty: row-major
};

}  // namespace hachi
