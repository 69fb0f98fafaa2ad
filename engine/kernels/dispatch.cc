#include "engine/kernels/dispatch.h"

#include "engine/cpu/isa.h"

namespace hachi {

void FollowLadder() {
  static const bool followed = [] {
    if (DetectIsa() < Isa::kAvx512) hwy::DisableTargets(HWY_AVX3 | HWY_AVX3_DL);
    return true;
  }();
  static_cast<void>(followed);
}

}  // namespace hachi
