#pragma once

#include <optional>

#include "engine/quant/range.h"
#include "engine/quant/tensor_stats.h"

namespace hachi {

// The tensor stored with a scale for each channel (axis 1), each reaching over all that was seen of its
// channel, and one zero point for all. For what depthwise convolutions read, whose channels never meet: their
// scales cost nothing there. `whole` is how one scale would do; nullopt where channels would gain little
// beside that, or the statistics know no ranges of `channels` channels. `signed_activations` false: u8 only.
std::optional<ActivationQuant> ChooseChannelQuant(const TensorStats& stats, int64_t channels,
                                                  const ActivationQuant& whole, bool signed_activations);

}  // namespace hachi
