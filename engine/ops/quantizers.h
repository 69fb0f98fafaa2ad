#pragma once

#include "engine/ops/op.h"

// What QuantizeLinear and DequantizeLinear share: x, a constant scale, a constant zero point (may be left
// out: 0) and the attribute `axis` where there are several scales.
namespace hachi {

// The parameters that the node's constants hold; zero points are of `dtype`. INVALID_ARGUMENT where they
// contradict x, UNIMPLEMENTED where they are computed.
absl::StatusOr<QuantParams> ReadQuantParams(const Node& node, DType dtype);

}  // namespace hachi
