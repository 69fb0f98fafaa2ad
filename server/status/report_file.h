#pragma once

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "server/models/model_version.h"

namespace hachi::server {

// Where a version's report is served: "/reports/digits/1".
std::string ReportPath(const std::string& name, int64_t version);

// report.html beside a version's model file: a regular file of that folder, of at most 4 MiB. What else
// ReadFileBeneath refuses is no report.
bool HasReport(const ModelVersion& version);
absl::StatusOr<std::string> ReadReport(const ModelVersion& version);

}  // namespace hachi::server
