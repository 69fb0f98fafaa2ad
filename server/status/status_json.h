#pragma once

#include <string>

#include "server/status/status_facts.h"

namespace hachi::server {

// The facts as one JSON object; README.md shows it. Text that is not UTF-8 comes out with replacement
// characters.
std::string StatusJson(const StatusFacts& facts);

}  // namespace hachi::server
