#include "engine/tensor/scores.h"

#include <algorithm>

namespace hachi {

size_t PlaceOfLargest(std::span<const float> scores) {
  return static_cast<size_t>(std::ranges::max_element(scores) - scores.begin());
}

ScoredPlaces CompareLargest(std::span<const float> scores, std::span<const float> others,
                            const Shape& shape) {
  const size_t row = shape.empty() ? 1 : static_cast<size_t>(shape.back());
  ScoredPlaces places;
  if (row < 2) return places;
  for (size_t at = 0; at + row <= others.size(); at += row, ++places.count)
    places.agreeing += PlaceOfLargest(scores.subspan(at, row)) == PlaceOfLargest(others.subspan(at, row));
  return places;
}

}  // namespace hachi
