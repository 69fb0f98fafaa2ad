#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "engine/tensor/shape.h"

namespace hachi {

// Where the largest of some scores is, the first of equal ones.
size_t PlaceOfLargest(std::span<const float> scores);

// Vectors along a tensor's last axis, as those of a classifier's scores.
struct ScoredPlaces {
  int64_t count = 0;
  int64_t agreeing = 0;  // whose largest score is where the other tensor has it
};

// Of two tensors of that shape. None where the last axis holds a number alone, of which nothing is largest.
ScoredPlaces CompareLargest(std::span<const float> scores, std::span<const float> others, const Shape& shape);

}  // namespace hachi
