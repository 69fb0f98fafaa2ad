#pragma once

#include <string>

#include "engine/cpu/isa.h"

namespace hachi {

// What a kernel is. The name is for people ("brgconv:avx512_core_vnni", "hachi_gather"); code acts on the
// rest.
struct KernelFacts {
  std::string name;
  Isa isa = Isa::kAvx2;    // the rung that it uses
  bool vnni = false;       // products of bytes, where it has any, are summed in 32 bits
  bool reference = false;  // plain loops: right and slow
};

}  // namespace hachi
