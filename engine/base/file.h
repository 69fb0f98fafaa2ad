#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <limits>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/base/sha256.h"

namespace hachi {

// A regular file to be read from its beginning. Thread-compatible.
class FileReader {
 public:
  // NOT_FOUND when there is none; INVALID_ARGUMENT when it is not a regular file or is longer than
  // `max_bytes`; UNAVAILABLE when the system refuses to read it.
  static absl::StatusOr<FileReader> Open(const std::filesystem::path& path, size_t max_bytes = SIZE_MAX);

  // When it was opened.
  size_t size() const { return size_; }

  // As many of its bytes as are left and `into` takes: fewer at the end only. UNAVAILABLE as above, and when
  // the file got shorter since it was opened.
  absl::StatusOr<size_t> Read(std::span<char> into);

 private:
  FileReader(std::filesystem::path path, std::ifstream in, size_t size)
      : path_(std::move(path)), in_(std::move(in)), size_(size), left_(size) {}

  std::filesystem::path path_;
  std::ifstream in_;
  size_t size_, left_;
};

// The whole of a regular file; errors are FileReader's.
absl::StatusOr<std::string> ReadFile(const std::filesystem::path& path, size_t max_bytes = size_t{2} << 30);

// Replaces `path` by `content` in one step (a temporary file beside it, synced, then renamed): a reader sees
// the old file or the new one, never a part, whoever else writes it meanwhile, and also after a loss of
// power. UNAVAILABLE when the system refuses; the old file stays then.
absl::Status WriteFile(const std::filesystem::path& path, std::string_view content);

// Adds the file's bytes; errors are FileReader's.
absl::Status AddFile(const std::filesystem::path& path, Sha256& sha256);

// Sha256's digest of `head` and the files' contents one after the other; errors are FileReader's.
absl::StatusOr<std::string> Sha256Of(std::string_view head, std::span<const std::filesystem::path> paths);

// Regular files in a folder and the folders in it, in the order of their paths. Links to folders are not
// followed. OUT_OF_RANGE when there are more than `most`; UNAVAILABLE when the system refuses.
absl::StatusOr<std::vector<std::filesystem::path>> FilesBeneath(
    const std::filesystem::path& folder, size_t most = std::numeric_limits<size_t>::max());

}  // namespace hachi
