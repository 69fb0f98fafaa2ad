#pragma once

#include "config/model_config.h"
#include "engine/engine.h"

namespace hachi::server {

// What the engine is asked to load for one version of a configured model, for teams of `threads` threads.
LoadOptions LoadOptionsOf(const ModelConfig& config, const VersionFiles& files, int threads);

}  // namespace hachi::server
