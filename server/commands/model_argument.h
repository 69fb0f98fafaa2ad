#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/engine.h"

namespace hachi::server {

// What the engine is to load for MODEL on a command line: a model directory's highest version as its
// model.yaml has it, or an .onnx file, with the calibration.txt beside it if there is one.
absl::StatusOr<LoadOptions> ReadModelArgument(const std::filesystem::path& model);

// "auto", "int8", "bf16" or "fp32". REQUIRES: one of these, as kPrecisionNames has the option parser check.
inline const std::vector<std::string> kPrecisionNames = {"auto", "int8", "bf16", "fp32"};
Precision PrecisionOf(const std::string& name);

}  // namespace hachi::server
