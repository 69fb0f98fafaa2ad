#pragma once

#include <cstdint>

// Counts what the process allocates by `new`, on any thread, since it started. Linking allocations.cc
// replaces the allocator; not under the address sanitizer, which has its own: there it counts nothing.
namespace hachi {

struct Allocations {
  int64_t all;
  int64_t large;  // more than what oneDNN lists a call's arguments in, 1 KiB
};
Allocations CountAllocations();

}  // namespace hachi
