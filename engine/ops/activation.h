#pragma once

#include "engine/ops/op.h"

namespace hachi {

// For operators whose nodes are one post-op (OpDef::as_post_op): FP32 through oneDNN; u8 and s8 through a
// table of all 256 results, fused post-ops included.
std::vector<Offer> ActivationOffers();

}  // namespace hachi
