#include "engine/base/file.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <system_error>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/base/status_macros.h"

namespace hachi {

absl::StatusOr<FileReader> FileReader::Open(const std::filesystem::path& path, size_t max_bytes) {
  std::error_code error;
  const auto status = std::filesystem::status(path, error);
  if (status.type() == std::filesystem::file_type::not_found)
    return absl::NotFoundError(absl::StrCat("file '", path.string(), "': not found, expected a file"));
  if (!std::filesystem::status_known(status))
    return absl::UnavailableError(
        absl::StrCat("file '", path.string(), "': cannot be read: ", error.message()));
  if (!std::filesystem::is_regular_file(status))
    return absl::InvalidArgumentError(
        absl::StrCat("file '", path.string(), "': not a regular file, expected one"));
  // The open file's size, not the path's: another file may have taken the path since.
  std::ifstream in(path, std::ios::binary | std::ios::ate);
  const auto size = static_cast<size_t>(std::max<std::streamoff>(in.tellg(), 0));
  if (size > max_bytes)
    return absl::InvalidArgumentError(
        absl::StrCat("file '", path.string(), "': ", size, " bytes, expected at most ", max_bytes));
  in.seekg(0);
  if (!in)
    return absl::UnavailableError(
        absl::StrCat("file '", path.string(), "': cannot be read: ", std::strerror(errno)));
  return FileReader(path, std::move(in), size);
}

absl::StatusOr<size_t> FileReader::Read(std::span<char> into) {
  const size_t bytes = std::min(into.size(), left_);
  errno = 0;
  if (!in_.read(into.data(), static_cast<std::streamsize>(bytes)))
    return absl::UnavailableError(
        absl::StrCat("file '", path_.string(),
                     "': cannot be read: ", errno != 0 ? std::strerror(errno) : "it got shorter meanwhile"));
  left_ -= bytes;
  return bytes;
}

absl::StatusOr<std::string> ReadFile(const std::filesystem::path& path, size_t max_bytes) {
  ASSIGN_OR_RETURN(FileReader file, FileReader::Open(path, max_bytes));
  std::string content(file.size(), '\0');
  RETURN_IF_ERROR(file.Read(content).status());
  return content;
}

namespace {

// A new file beside `path` for one of this process's writers, and the descriptor that writes it; -1 with
// errno where there can be none. What a process that died left under the same name is passed over.
std::pair<std::filesystem::path, int> OpenTemporary(const std::filesystem::path& path) {
  static std::atomic<int64_t> calls = 0;
  for (;;) {
    std::filesystem::path temporary = path;
    temporary += absl::StrCat(".", getpid(), ".", ++calls, ".tmp");
    const int file = open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (file >= 0 || errno != EEXIST) return {std::move(temporary), file};
  }
}

bool WriteAll(int file, std::string_view content) {
  while (!content.empty()) {
    const ssize_t written = write(file, content.data(), content.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return false;
    content.remove_prefix(static_cast<size_t>(written));
  }
  return true;
}

// So that the new name outlives a loss of power. File systems that can't are left to their own order.
void SyncDirectory(const std::filesystem::path& directory) {
  const int folder = open(directory.empty() ? "." : directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (folder < 0) return;
  fsync(folder);
  close(folder);
}

}  // namespace

absl::Status WriteFile(const std::filesystem::path& path, std::string_view content) {
  const auto [temporary, file] = OpenTemporary(path);
  const auto fail = [&, &written_to = temporary](int error) {
    std::error_code ignored;
    std::filesystem::remove(written_to, ignored);
    return absl::UnavailableError(
        absl::StrCat("file '", path.string(), "': cannot be written: ", std::strerror(error)));
  };
  if (file < 0) return fail(errno);
  // Its bytes are on disk before its name is: else a loss of power could leave the name with none.
  const int error = WriteAll(file, content) && fsync(file) == 0 ? 0 : errno;
  if (close(file) != 0 || error != 0) return fail(error != 0 ? error : errno);
  if (rename(temporary.c_str(), path.c_str()) != 0) return fail(errno);
  SyncDirectory(path.parent_path());
  return absl::OkStatus();
}

absl::Status AddFile(const std::filesystem::path& path, Sha256& sha256) {
  ASSIGN_OR_RETURN(FileReader file, FileReader::Open(path));
  std::vector<char> block(1 << 20);
  for (size_t bytes = block.size(); bytes == block.size();) {
    ASSIGN_OR_RETURN(bytes, file.Read(block));
    sha256.Add({block.data(), bytes});
  }
  return absl::OkStatus();
}

absl::StatusOr<std::string> Sha256Of(std::string_view head, std::span<const std::filesystem::path> paths) {
  Sha256 sha256;
  sha256.Add(head);
  for (const auto& path : paths) RETURN_IF_ERROR(AddFile(path, sha256));
  return sha256.Digest();
}

absl::StatusOr<std::vector<std::filesystem::path>> FilesBeneath(const std::filesystem::path& folder,
                                                                size_t most) {
  std::vector<std::filesystem::path> files;
  std::error_code error;
  for (std::filesystem::recursive_directory_iterator it(folder, error), end; !error && it != end;
       it.increment(error)) {
    std::error_code ignored;
    if (it->is_regular_file(ignored)) files.push_back(it->path());
    if (files.size() > most)
      return absl::OutOfRangeError(
          absl::StrCat("folder '", folder.string(), "': more files than expected, which is at most ", most));
  }
  if (error) return absl::UnavailableError(absl::StrCat("folder '", folder.string(), "': ", error.message()));
  std::ranges::sort(files);
  return files;
}

}  // namespace hachi
