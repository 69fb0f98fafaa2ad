#pragma once

#include <map>
#include <string>

#include "absl/status/statusor.h"
#include "config/model_config.h"
#include "engine/engine.h"

namespace hachi::server {

// What an output's values stand for, by output name: one label a line, without a line break at the end.
using Labels = std::map<std::string, std::string>;

// Reads the label files that `config` names for a model of that signature. An output has a label for each
// value of a row, or for each index of one of its dimensions; one of integers, which may be such indices
// themselves, any number. INVALID_ARGUMENT when a file has another number or is not text, and for an output
// that the model lacks; NOT_FOUND or UNAVAILABLE when a file can't be read.
absl::StatusOr<Labels> ReadLabels(const ModelConfig& config, const Signature& signature);

}  // namespace hachi::server
