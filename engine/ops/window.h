#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <span>
#include <string>

#include "absl/status/statusor.h"
#include "engine/graph/graph.h"

namespace hachi {

// The sliding window of Conv and the pools: ONNX's kernel_shape, strides, dilations, pads, auto_pad and
// ceil_mode, one entry a spatial axis. Positive and bounded; pads not negative.
struct Window {
  AxisNumbers kernel, strides, dilations;
  AxisNumbers pads_begin,
      pads_end;  // filled in by auto_pad only for the concrete input it was read with
  bool ceil_mode = false;
  std::string auto_pad = "NOTSET";  // NOTSET, VALID, SAME_UPPER, SAME_LOWER

  // Reads the node's attributes; `kernel` when the attribute is absent (Conv: the weights' shape).
  static absl::StatusOr<Window> Read(const Node& node, size_t spatial_axes, AxisNumbers kernel);

  // Spatial output dimensions for spatial input dimensions. INVALID_ARGUMENT when the window is larger than
  // the padded input or auto_pad meets a symbolic dimension.
  absl::StatusOr<SymbolicShape> OutputDims(std::span<const Dim> spatial) const;

  // The window with auto_pad resolved and the end pads grown to what ceil_mode reads, for these sizes.
  Window For(std::span<const int64_t> input, std::span<const int64_t> output) const;

  // How far the taps of axis `i` reach: (kernel - 1) * dilation + 1.
  int64_t Reach(size_t i) const { return (kernel[i] - 1) * dilations[i] + 1; }
};

// Numbers along up to three spatial axes as along three, with `fill` in front: a signal is a picture of one
// row.
inline std::array<int64_t, 3> Three(std::span<const int64_t> values, int64_t fill) {
  std::array<int64_t, 3> three{fill, fill, fill};
  std::ranges::copy_backward(values, three.end());
  return three;
}

}  // namespace hachi
