#include "server/record/reservoir.h"

namespace hachi::server {

std::optional<int64_t> Reservoir::Place() {
  if (seen_ < places_) return seen_++;
  const int64_t place = std::uniform_int_distribution<int64_t>(0, seen_++)(random_);
  if (place >= places_) return std::nullopt;
  return place;
}

}  // namespace hachi::server
