#pragma once

#include <vector>

#include "engine/tensor/dtype.h"

namespace hachi {

// What clients send for one input, where that differs from what the model takes. The engine computes
// (x - mean[c]) * scale[c] while it gathers; padding inside the model stays zero after that normalisation.
struct InputOptions {
  DType dtype = DType::kF32;   // of what clients send: u8 or f32
  bool channels_last = false;  // clients send nhwc where the model takes nchw
  std::vector<float> mean;     // one a channel, or one for all; empty: 0
  std::vector<float> scale;    // one a channel, or one for all; empty: 1
};

}  // namespace hachi
