#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "engine/ops/op.h"
#include "engine/tensor/shape.h"

namespace hachi {

// For each axis of a result the input's index along that axis for each of its own; kFilled: none.
using AxisMaps = std::vector<std::vector<int64_t>>;
inline constexpr int64_t kFilled = -1;

// out[i, j, ...] = in[maps[0][i], maps[1][j], ...], and `fill` where one of these is kFilled. For references.
void CopyMapped(const TensorView& in, const AxisMaps& maps, std::span<const std::byte> fill, Tensor& out);

// The step that does this to input 0 (in any layout) and reads nothing else. `fill` is one element.
StepMaker TakeMapped(const LowerContext& context, const AxisMaps& maps, std::vector<std::byte> fill);

}  // namespace hachi
