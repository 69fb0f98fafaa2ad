#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "engine/kernels/fused_ops.h"
#include "engine/tensor/dtype.h"

namespace hachi {

// A depthwise convolution, 3 × 3 or 5 × 5, of u8 pixels, channels innermost, with s8 weights.
struct DepthwiseSpec {
  int64_t height = 1, width = 1, channels = 1;
  int64_t out_height = 1, out_width = 1;
  int64_t kernel = 3;                  // or 5, along both axes
  int64_t stride_y = 1, stride_x = 1;  // 1 or 2
  int64_t pad_top = 0, pad_left = 0;   // below and right of the pixels there is as much as outputs need
  uint8_t zero_point = 0;              // of the pixels, what padding consists of
  DType to = DType::kU8;               // or s8
  int32_t lowest = 0, highest = 255;   // bounds of the result, values of `to`
  std::vector<int8_t> weights;         // [channels, kernel, kernel]
  std::vector<float> factor, offset;   // one a channel
  FusedOps fused;
};

// Each result is round-half-to-even(y) within the bounds, where y = fma(sum of products, factor[c],
// offset[c]), the sum being of the integers as they are stored; with post-ops,
// fma(post-ops(y), fused.factor[c], fused.zero_point).
//
// Needs AVX-512 VNNI (HasVnni and a rung of AVX-512). Sums are exact: up to four rows of a column are
// one instruction's four products. Thread-safe: immutable. Runs on the calling thread's team, without
// allocating.
class Depthwise {
 public:
  // REQUIRES: the spec's vectors have their sizes.
  explicit Depthwise(DepthwiseSpec spec);

  // REQUIRES: `in` and `out` hold so many images and do not overlap.
  void Run(const std::byte* in, int64_t images, std::byte* out) const;

 private:
  static constexpr int64_t kLanes = 64;  // results at a time
  static constexpr int64_t kMaxTaps = 2 * 5;

  // Some channels, of one row of outputs or, where they are few, of two or four rows: so that each
  // instruction's lanes are full. What they need lies in the order in which unpacking bytes leaves it, again
  // for each row.
  struct alignas(64) Block {
    int32_t weights[kMaxTaps][kLanes];  // by column, of rows 0 to 3, then of row 4; bytes without a row are 0
    float factor[kLanes], offset[kLanes], fused_factor[kLanes];
    int64_t first, channels;  // at most 64, 32 and 16 of one, two and four rows
    int rows;
  };
  void AddBlock(int64_t first, int64_t channels);

  // The outputs of `rows` rows from `row` on, at most as many as the block's.
  void RunBlock(const Block& block, const std::byte* in, int64_t image, int64_t row, int64_t rows,
                std::byte* out) const;

  DepthwiseSpec spec_;
  std::vector<Block> blocks_;
  int64_t unit_rows_ = 1;  // the most of any block
};

}  // namespace hachi
