#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "server/commands/report_facts.h"

namespace hachi::server {

// The facts as one JSON object, in one line; text that is not UTF-8 with replacement characters. DATA_LOSS
// where tune.json does not parse.
absl::StatusOr<std::string> ReportJson(const ReportFacts& facts);

}  // namespace hachi::server
