#pragma once

#include <cstdint>
#include <vector>

#include "engine/tensor/tensor.h"

namespace hachi::server {

// How one row's answer stands to FP32's.
struct Agreement {
  int64_t places = 0;    // of f32 outputs the vectors along the last axis, of others the elements
  int64_t agreeing = 0;  // places whose largest score is where FP32 has it, elements that are equal
  double error = 0;      // of f32 outputs together: size of the difference over FP32's size, at most 10
};

// Empty tensors in `served` were not wanted and are passed over. REQUIRES: the others have the shapes and
// datatypes of those of `fp32`.
Agreement Compare(const std::vector<Tensor>& served, const std::vector<Tensor>& fp32);

}  // namespace hachi::server
