#pragma once

#include <cstddef>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace hachi {

// The whole of a regular file. NOT_FOUND when there is none; INVALID_ARGUMENT when it is not a regular file
// or is longer than `max_bytes`; UNAVAILABLE when the system refuses to read it.
absl::StatusOr<std::string> ReadFile(const std::filesystem::path& path, size_t max_bytes = size_t{2} << 30);

// Replaces `path` by `content` in one step (a temporary file beside it, synced, then renamed): a reader sees
// the old file or the new one, never a part, whoever else writes it meanwhile, and also after a loss of
// power. UNAVAILABLE when the system refuses; the old file stays then.
absl::Status WriteFile(const std::filesystem::path& path, std::string_view content);

// SHA-256 (FIPS 180-4) of `head` and the files' contents one after the other, as 64 lower-case hexadecimal
// digits. NOT_FOUND when one cannot be opened; UNAVAILABLE when the system refuses to read it.
absl::StatusOr<std::string> Sha256Of(std::string_view head, std::span<const std::filesystem::path> paths);

}  // namespace hachi
