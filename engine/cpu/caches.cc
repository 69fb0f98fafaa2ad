#include "engine/cpu/caches.h"

#include <unistd.h>

namespace hachi {
namespace {

int64_t BytesOf(int level, int64_t otherwise) {
  const int64_t bytes = sysconf(level);
  return bytes > 0 ? bytes : otherwise;
}

}  // namespace

int64_t FirstCacheBytes() {
  static const int64_t bytes = BytesOf(_SC_LEVEL1_DCACHE_SIZE, int64_t{32} << 10);
  return bytes;
}

int64_t SecondCacheBytes() {
  static const int64_t bytes = BytesOf(_SC_LEVEL2_CACHE_SIZE, int64_t{1} << 20);
  return bytes;
}

}  // namespace hachi
