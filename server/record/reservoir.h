#pragma once

#include <cstdint>
#include <optional>
#include <random>

namespace hachi::server {

// A uniform sample of a stream whose length nobody knows: algorithm R of Vitter, "Random sampling with a
// reservoir" (1985).
//
// Thread-compatible.
class Reservoir {
 public:
  // REQUIRES: places >= 1.
  Reservoir(int64_t places, uint64_t seed) : places_(places), random_(seed) {}

  // The place that the stream's next item is to have, whoever had it before; nullopt: none.
  std::optional<int64_t> Place();

 private:
  const int64_t places_;
  int64_t seen_ = 0;
  std::mt19937_64 random_;
};

}  // namespace hachi::server
