#pragma once

#include <cstdint>

namespace hachi {

// A core's own caches for data, in bytes: what the system says, or what the CPUs that we serve have at least.
int64_t FirstCacheBytes();
int64_t SecondCacheBytes();

}  // namespace hachi
