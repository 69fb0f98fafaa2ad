#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "engine/tensor/dtype.h"

namespace hachi {

// What is configured of a free dimension.
struct FreeDimOptions {
  std::optional<int64_t> max;    // larger ones are refused
  std::vector<int64_t> buckets;  // ascending: rows are padded up to the next; empty: each size runs as it is
  double pad = 0;                // the element that padding consists of, as clients would send it
};

// What clients send for one input, where that differs from what the model takes. The engine computes
// (x - mean[c]) * scale[c] while it takes rows in; padding inside the model stays zero after that
// normalisation.
struct InputOptions {
  std::optional<DType> dtype;                  // of what clients send: u8 or f32; nullopt: the model's
  bool channels_last = false;                  // clients send nhwc where the model takes nchw
  std::vector<float> mean;                     // one a channel, or one for all; empty: 0
  std::vector<float> scale;                    // one a channel, or one for all; empty: 1
  std::map<std::string, FreeDimOptions> dims;  // of the model's own dimensions, by symbol
};

}  // namespace hachi
