#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string_view>

// What every fuzz target has: LLVMFuzzerTestOneInput in a file of its own, which takes any bytes and must
// come back, without a finding of the sanitizers. libFuzzer drives it (./dev fuzz), or driver.cc for a few
// seconds.
namespace hachi {

inline std::string_view TextOf(const uint8_t* data, size_t size) {
  return {reinterpret_cast<const char*>(data), size};
}

// Ends the process, as a finding, where what must hold of any input does not.
inline void Require(bool holds, const char* what) {
  if (holds) return;
  std::fprintf(stderr, "not so: %s\n", what);
  std::abort();
}

}  // namespace hachi

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);
