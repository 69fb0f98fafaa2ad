#pragma once

#include "engine/onednn/pooling.h"
#include "engine/ops/op.h"
#include "engine/ops/window.h"

// What MaxPool and AveragePool share.
namespace hachi {

// Types, rank and window; sets the output's dims. REQUIRES: one output.
absl::StatusOr<SymbolicShape> InferPooledDims(const Node& node);

// The window of these sizes, auto_pad and ceil_mode resolved.
absl::StatusOr<Window> PoolingWindow(const Node& node, std::span<const int64_t> input,
                                     std::span<const int64_t> output);

// Calls fn(output index, taps) for each output element in order, taps being the flat input indices under its
// window that are not padding. `padded` counts taps in the padding that the node states (not what ceil_mode
// adds beyond it).
struct Taps {
  std::vector<int64_t> inside;
  int64_t padded;
};
template <typename Fn>
void ForEachWindow(const Window& stated, const Window& window, std::span<const int64_t> input,
                   std::span<const int64_t> output, const Fn& fn) {
  const size_t axes = window.kernel.size();
  const int64_t pixels = CountOf(input.subspan(2));
  for (int64_t i = 0; i < CountOf(output); ++i) {
    std::vector<int64_t> start(axes);
    int64_t plane = i;
    for (size_t axis = axes; axis-- > 0; plane /= output[axis + 2])
      start[axis] = plane % output[axis + 2] * window.strides[axis] - window.pads_begin[axis];
    Taps taps{{}, 0};
    for (int64_t tap = 0; tap < CountOf(window.kernel); ++tap) {
      int64_t rest = tap, at = 0, stride = 1;
      bool inside = true, counted = true;
      for (size_t axis = axes; axis-- > 0; rest /= window.kernel[axis]) {
        const int64_t position = start[axis] + rest % window.kernel[axis] * window.dilations[axis];
        inside = inside && position >= 0 && position < input[axis + 2];
        counted = counted && position < input[axis + 2] + stated.pads_end[axis];
        at += position * stride;
        stride *= input[axis + 2];
      }
      if (inside) taps.inside.push_back(plane * pixels + at);
      if (!inside && counted) ++taps.padded;
    }
    fn(i, taps);
  }
}

// The library's kernel.
absl::StatusOr<StepMaker> TakePooling(const LowerContext& context, PoolingSpec::Kind kind);

}  // namespace hachi
