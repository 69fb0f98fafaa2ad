#pragma once

#include "inference.pb.h"
#include "server/models/model_version.h"

namespace hachi::server {

// What the protocol's description RPCs answer for a READY version.
void DescribeMetadata(const ModelVersion& model, inference::ModelMetadataResponse& response);
void DescribeConfig(const ModelVersion& model, inference::ModelConfig& config);
void DescribeStatistics(const ModelVersion& model, inference::ModelStatistics& statistics);

}  // namespace hachi::server
