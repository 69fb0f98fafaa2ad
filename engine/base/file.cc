#include "engine/base/file.h"

#include <openssl/evp.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <fstream>
#include <memory>
#include <system_error>

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

absl::Status WriteFile(const std::filesystem::path& path, std::string_view content) {
  static std::atomic<int64_t> calls = 0;  // names a temporary file for each of this process's writers
  std::filesystem::path temporary = path;
  temporary += absl::StrCat(".", getpid(), ".", ++calls, ".tmp");
  const auto fail = [&](const std::string& why) {
    std::error_code ignored;
    std::filesystem::remove(temporary, ignored);
    return absl::UnavailableError(absl::StrCat("file '", path.string(), "': cannot be written: ", why));
  };
  {
    std::ofstream out(temporary, std::ios::binary);
    out.write(content.data(), static_cast<std::streamsize>(content.size()));
    out.flush();
    if (!out) return fail(std::strerror(errno));
  }
  std::error_code error;
  std::filesystem::rename(temporary, path, error);
  if (error) return fail(error.message());
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
