#pragma once

#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/engine.h"

namespace hachi::server {

// What the engine is to load for MODEL on a command line: a model directory's highest version as its
// model.yaml has it, or an .onnx file, with the calibration.txt and decisions.txt beside it if there are any.
absl::StatusOr<LoadOptions> ReadModelArgument(const std::filesystem::path& model);

// What --precision may be: the words that ParsePrecision takes.
std::vector<std::string> PrecisionWords();

// --shape NAME=1,3,640,480: what a free input's shape is to be, the batch in front where there is one;
// --value NAME=16000: the elements of an input that decides what the model computes. One row's shapes of
// every input. INVALID_ARGUMENT where one is not written so, names no input, does not fit, or is missing.
absl::StatusOr<std::shared_ptr<const RowShapes>> ShapesOf(const Model& model,
                                                          std::span<const std::string> shapes,
                                                          std::span<const std::string> values);

}  // namespace hachi::server
