#pragma once

#include <hwy/targets.h>

#include <cstddef>

namespace hachi {

// Floats in the widest vector of all targets (HWY_MAX_BYTES is the current target's).
inline constexpr size_t kMaxFloatLanes = 16;

// Keeps Highway, which detects the CPU by itself, at or below the rung of DetectIsa(). Cheap after the first
// call.
//
// Thread-safe.
void FollowLadder();

}  // namespace hachi

// HWY_DYNAMIC_DISPATCH below the ladder's rung: HACHI_DISPATCH(Function)(arguments).
#define HACHI_DISPATCH(function) (::hachi::FollowLadder(), HWY_DYNAMIC_DISPATCH(function))
