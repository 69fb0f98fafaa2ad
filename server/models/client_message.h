#pragma once

#include <filesystem>
#include <string>
#include <string_view>

namespace hachi::server {

// `message`, which may be about files of a model in `dir`, as clients may read it: files are named from the
// model's directory on, and of what lies elsewhere there is the last name alone. Names that only look like
// paths, such as "/conv1/Conv_output_0", stay.
std::string WithoutPaths(std::string_view message, const std::filesystem::path& dir);

}  // namespace hachi::server
