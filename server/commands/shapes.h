#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "server/client/client.h"

namespace hachi::server {

// NAME=1,3,640,480 of each --shape, by name. INVALID_ARGUMENT for what is not written so, and for a name
// given twice.
absl::StatusOr<std::map<std::string, std::vector<int64_t>>> ParseShapes(
    std::span<const std::string> arguments);

// Gives inputs of a served model the shapes of --shape. INVALID_ARGUMENT for a name that no input has, and
// for a shape that does not fit.
absl::Status SetShapes(std::span<const std::string> arguments, ModelDescription& model);

// INVALID_ARGUMENT, naming it, where an input still has free dimensions beside its batch.
absl::Status CheckShapesAreSet(const ModelDescription& model);

}  // namespace hachi::server
