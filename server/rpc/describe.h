#pragma once

#include <map>
#include <string>

#include "absl/status/statusor.h"
#include "inference.pb.h"
#include "server/models/model_registry.h"
#include "server/models/model_version.h"

namespace hachi::server {

// Label texts, one label a line, by model and output name.
using Labels = std::map<std::string, std::map<std::string, std::string>>;

// Reads the label files of every configured model. INVALID_ARGUMENT naming the file that can't be used.
absl::StatusOr<Labels> ReadLabels(const ModelRegistry& registry);

// What the protocol's description RPCs answer for a READY version.
void DescribeMetadata(const ModelVersion& model, inference::ModelMetadataResponse& response);
void DescribeConfig(const ModelVersion& model, const std::map<std::string, std::string>* labels,
                    inference::ModelConfig& config);
void DescribeStatistics(const ModelVersion& model, inference::ModelStatistics& statistics);

}  // namespace hachi::server
