#pragma once

#include <filesystem>

#include "absl/status/statusor.h"
#include "engine/engine.h"

namespace hachi::server {

// What the engine is to load for MODEL on a command line: a model directory's highest version as its
// model.yaml has it, or an .onnx file, with the calibration.txt beside it if there is one.
absl::StatusOr<LoadOptions> ReadModelArgument(const std::filesystem::path& model);

}  // namespace hachi::server
