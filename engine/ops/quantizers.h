#pragma once

#include <iterator>

#include "engine/ops/op.h"
#include "engine/ops/quantized.h"

// What QuantizeLinear and DequantizeLinear share: x, a constant scale, a constant zero point (may be left
// out: 0) and the attribute `axis` where there are several scales.
namespace hachi {

// The parameters that the node's constants hold; zero points are of `dtype`. INVALID_ARGUMENT where they
// contradict x, UNIMPLEMENTED where they are computed.
absl::StatusOr<QuantParams> ReadQuantParams(const Node& node, DType dtype);

// Whether scale or zero point are no constants: integers of the node then stand for nothing that is known.
bool HasComputedScale(const Node& node);

// Types and shapes of such a scale and zero point.
absl::Status CheckComputedScale(const Node& node, DType dtype);

// Whether there is a scale for each `block_size` elements along the axis (opset 21); else 0 or less.
absl::StatusOr<int64_t> BlockSizeOf(const Node& node);

// Types and shapes of scales and zero points of blocks. REQUIRES: the node has a block size.
absl::Status CheckBlocks(const Node& node, DType dtype);

// The same by element of x. For references.
class ElementQuants {
 public:
  // REQUIRES: ReadQuantParams, CheckComputedScale or CheckBlocks takes the node.
  static absl::StatusOr<ElementQuants> Of(const Node& node, std::span<const TensorView> inputs);

  float scale(int64_t i) const { return scales_[Channel(i)]; }
  int32_t zero_point(int64_t i) const {
    return zero_points_ == nullptr ? 0 : static_cast<int32_t>(IntegerAt(*zero_points_, Channel(i)));
  }

 private:
  int64_t Channel(int64_t i) const {
    if (block_size_ == 0) return i / step_ % std::ssize(scales_);
    const int64_t blocks = (length_ + block_size_ - 1) / block_size_;
    return (i / (step_ * length_) * blocks + i / step_ % length_ / block_size_) * step_ + i % step_;
  }

  std::span<const float> scales_;
  const TensorView* zero_points_ = nullptr;  // null: 0
  int64_t step_ = 1;                         // elements between one channel and the next
  int64_t block_size_ = 0;                   // 0: one scale for each channel, or one for all
  int64_t length_ = 1;                       // of the axis along which blocks lie
};

}  // namespace hachi
