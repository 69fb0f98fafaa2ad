#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/tensor/layout.h"
#include "engine/tensor/shape.h"

namespace hachi {

// Copies a dense tensor from one memory order to another.
//
// Thread-safe: immutable. Runs on the calling thread's team, without allocating.
class Permute {
 public:
  // INVALID_ARGUMENT when `element_bytes` is not 1, 2, 4 or 8.
  static absl::StatusOr<Permute> Create(const Shape& shape, const Layout& from, const Layout& to,
                                        size_t element_bytes);

  // REQUIRES: both hold the shape's elements and do not overlap.
  void Run(const std::byte* in, std::byte* out) const;

 private:
  struct Axis {
    int64_t size, in_stride, out_stride;  // strides in elements
  };
  Permute() = default;

  void CopyRuns(const std::byte* in, std::byte* out) const;
  void TransposeRuns(const std::byte* in, std::byte* out) const;

  size_t element_bytes_ = 1;
  int64_t count_ = 0;
  // The last axis is innermost in `out`; `inner_` is innermost in `in`, and is not among `outer_` either.
  Axis last_{1, 1, 1}, inner_{1, 1, 1};
  std::vector<Axis> outer_;
  bool transposes_ = false;  // inner_ and last_ differ
};

}  // namespace hachi
