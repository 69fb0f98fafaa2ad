#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "engine/kernels/fused_ops.h"
#include "engine/tensor/dtype.h"
#include "engine/tensor/tensor.h"

namespace hachi {

// A 1 × 1 convolution (a product of pixels and a matrix), channels innermost, s8 weights, bytes in.
struct PointwiseSpec {
  int64_t depth = 4;                  // channels in; a multiple of 4
  int64_t channels = 1;               // channels out
  DType from = DType::kU8;            // or s8
  DType to = DType::kU8;              // or s8, or f32
  int32_t lowest = 0, highest = 255;  // bounds of the result, values of `to`; not of f32
  std::vector<int8_t> weights;        // [channels, depth]
  std::vector<float> factor, offset;  // one a channel

  // Another tensor of the result's shape is added, times `factor`.
  struct Residual {
    DType type = DType::kU8;  // or s8
    float factor = 1.0f;
  };
  std::optional<Residual> residual;  // not of f32

  FusedOps fused;
};

// Each result is round-half-to-even(y) within the bounds, or y itself for f32, where y = fma(residual, its
// factor, fma(sum of products, factor[c], offset[c])), the sum being of the integers as they are stored; with
// post-ops, fma(post-ops(y), fused.factor[c], fused.zero_point).
//
// Needs AVX-512 VNNI (a rung of AVX-512). Sums are exact. Thread-safe: immutable. Runs on the calling
// thread's team, without allocating.
class Pointwise {
 public:
  // `packed` is Pack of the spec. REQUIRES: the spec's vectors have their sizes.
  Pointwise(PointwiseSpec spec, std::shared_ptr<const AlignedBuffer> packed);

  // The weights in the order in which they are read; depends on them, depth, channels and whether the result
  // is f32.
  static AlignedBuffer Pack(const PointwiseSpec& spec);

  // REQUIRES: `in`, `out` and, where the spec has one, `residual` hold so many pixels; `out` overlaps
  // neither.
  void Run(const std::byte* in, int64_t pixels, const std::byte* residual, std::byte* out) const;

 private:
  // Up to 64 channels, which one pass over the depth computes.
  struct Block {
    int64_t first, channels, vectors;
    size_t panel;       // where its weights begin, [depth / 4][vectors][16] dwords of four bytes each
    size_t parameters;  // where its factors and offsets begin, [vectors][16]
  };
  static std::vector<Block> BlocksOf(const PointwiseSpec& spec);

  PointwiseSpec spec_;
  std::vector<Block> blocks_;
  std::shared_ptr<const AlignedBuffer> panels_;
  std::vector<float> factor_, offset_, fused_factor_;
};

}  // namespace hachi
