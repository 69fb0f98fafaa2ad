#pragma once

#include <cstddef>
#include <filesystem>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace hachi {

// The whole of a regular file that a document in `folder` names, where whoever wrote the document may read
// nothing else: INVALID_ARGUMENT for an absolute path, one with "..", one that a link leads out of the
// folder, and a file that has a name elsewhere too (a hard link). Links inside the folder are followed.
// NOT_FOUND when there is none; INVALID_ARGUMENT when it is not a regular file or is longer than `max_bytes`;
// UNAVAILABLE when the system refuses to read it. Messages name the file as the document does.
absl::StatusOr<std::string> ReadFileBeneath(const std::filesystem::path& folder,
                                            const std::filesystem::path& name, size_t max_bytes);

// The same without reading it.
absl::Status CheckFileBeneath(const std::filesystem::path& folder, const std::filesystem::path& name);

}  // namespace hachi
