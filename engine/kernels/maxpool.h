#pragma once

#include <cstddef>
#include <cstdint>

#include "engine/tensor/dtype.h"

namespace hachi {

// Windows of a picture of bytes, channels innermost.
struct MaxPoolSpec {
  int64_t height = 1, width = 1, channels = 1;
  int64_t out_height = 1, out_width = 1;
  int64_t kernel_y = 1, kernel_x = 1;
  int64_t stride_y = 1, stride_x = 1;
  int64_t dilation_y = 1, dilation_x = 1;
  int64_t pad_top = 0, pad_left = 0;  // not looked at, nor what lies below and right of the pixels
  DType type = DType::kU8;            // or s8
};

// The largest byte of each window and channel; of a window without pixels the type's lowest.
//
// Needs AVX-512 VNNI (a rung of AVX-512). Runs on the calling thread's team, without allocating. REQUIRES:
// `in` and `out` hold so many images and do not overlap.
void MaxPool(const MaxPoolSpec& spec, const std::byte* in, int64_t images, std::byte* out);

}  // namespace hachi
