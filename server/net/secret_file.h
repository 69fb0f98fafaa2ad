#pragma once

#include <filesystem>
#include <string_view>

namespace hachi::server {

// Logs a warning about a file of secrets, named as `what`, that others than its owner may read.
void WarnOfReaders(std::string_view what, const std::filesystem::path& file);

}  // namespace hachi::server
