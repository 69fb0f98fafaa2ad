#include "engine/base/file.h"

#include <fcntl.h>
#include <openssl/evp.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <memory>
#include <system_error>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"

namespace hachi {

absl::StatusOr<std::string> ReadFile(const std::filesystem::path& path, size_t max_bytes) {
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
  std::string content(size, '\0');
  in.seekg(0);
  if (!in.read(content.data(), static_cast<std::streamsize>(size)))
    return absl::UnavailableError(
        absl::StrCat("file '", path.string(), "': cannot be read: ", std::strerror(errno)));
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

absl::StatusOr<std::string> Sha256Of(std::string_view head, std::span<const std::filesystem::path> paths) {
  const std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> context(EVP_MD_CTX_new(), &EVP_MD_CTX_free);
  EVP_DigestInit_ex(context.get(), EVP_sha256(), nullptr);
  EVP_DigestUpdate(context.get(), head.data(), head.size());
  std::vector<char> block(1 << 20);
  for (const auto& path : paths) {
    std::ifstream in(path, std::ios::binary);
    if (!in)
      return absl::NotFoundError(absl::StrCat("file '", path.string(), "': not found, expected a file"));
    while (in) {
      in.read(block.data(), static_cast<std::streamsize>(block.size()));
      EVP_DigestUpdate(context.get(), block.data(), static_cast<size_t>(in.gcount()));
    }
    if (in.bad())
      return absl::UnavailableError(
          absl::StrCat("file '", path.string(), "': cannot be read: ", std::strerror(errno)));
  }
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest;
  unsigned length = 0;
  EVP_DigestFinal_ex(context.get(), digest.data(), &length);
  return absl::BytesToHexString(absl::string_view(reinterpret_cast<const char*>(digest.data()), length));
}

}  // namespace hachi
