#include "engine/base/beneath.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <system_error>

#include "absl/strings/str_cat.h"
#include "engine/base/status_macros.h"

namespace hachi {
namespace {

namespace fs = std::filesystem;

// A descriptor that closes itself.
class File {
 public:
  explicit File(int descriptor) : descriptor_(descriptor) {}
  ~File() {
    if (descriptor_ >= 0) close(descriptor_);
  }
  File(const File&) = delete;
  int get() const { return descriptor_; }

 private:
  const int descriptor_;
};

// Where the system does not know openat2 or is told not to: looks first, then opens.
int OpenAfterALook(const fs::path& folder, const fs::path& name) {
  std::error_code error;
  const fs::path root = fs::canonical(folder, error);
  if (error) return errno = ENOENT, -1;
  const fs::path file = fs::canonical(root / name, error);
  if (error) return errno = ENOENT, -1;
  if (std::mismatch(root.begin(), root.end(), file.begin(), file.end()).first != root.end())
    return errno = EXDEV, -1;
  return open(file.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
}

int OpenBeneath(const fs::path& folder, const fs::path& name) {
  const File root(open(folder.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (root.get() < 0) return -1;
  // Non-blocking: a FIFO would wait for who writes to it.
  const open_how how = {.flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK,
                        .mode = 0,
                        .resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS};
  const long opened = syscall(SYS_openat2, root.get(), name.c_str(), &how, sizeof(how));
  if (opened < 0 && (errno == ENOSYS || errno == EPERM)) return OpenAfterALook(folder, name);
  return static_cast<int>(opened);
}

// Calls `use` with the open file and its size.
template <typename Use>
absl::Status WithFile(const fs::path& folder, const fs::path& name, Use use) {
  const auto invalid = [&](const std::string& found, const char* expected) {
    return absl::InvalidArgumentError(
        absl::StrCat("file '", name.string(), "': ", found, ", expected ", expected));
  };
  constexpr char kInside[] = "one of this folder, by a relative path";
  if (name.empty() || name.is_absolute() || std::ranges::find(name, fs::path("..")) != name.end())
    return invalid("not a path inside the folder", kInside);
  const File file(OpenBeneath(folder, name));
  if (file.get() < 0) {
    if (errno == EXDEV || errno == ELOOP) return invalid("a link leads out of the folder", kInside);
    if (errno == ENOENT || errno == ENOTDIR)
      return absl::NotFoundError(absl::StrCat("file '", name.string(), "': not found, expected a file"));
    return absl::UnavailableError(
        absl::StrCat("file '", name.string(), "': cannot be read: ", std::strerror(errno)));
  }
  struct stat about = {};
  if (fstat(file.get(), &about) != 0 || !S_ISREG(about.st_mode)) return invalid("not a regular file", "one");
  if (about.st_nlink > 1)
    return invalid(absl::StrCat("has ", about.st_nlink, " names (hard links)"),
                   "a file of this folder alone");
  return use(file.get(), static_cast<size_t>(about.st_size));
}

}  // namespace

absl::StatusOr<std::string> ReadFileBeneath(const fs::path& folder, const fs::path& name, size_t max_bytes) {
  std::string content;
  RETURN_IF_ERROR(WithFile(folder, name, [&](int file, size_t size) -> absl::Status {
    if (size > max_bytes)
      return absl::InvalidArgumentError(
          absl::StrCat("file '", name.string(), "': ", size, " bytes, expected at most ", max_bytes));
    content.resize(size);
    for (size_t done = 0; done < size;) {
      const ssize_t got = read(file, content.data() + done, size - done);
      if (got < 0 && errno == EINTR) continue;
      if (got <= 0)
        return absl::UnavailableError(
            absl::StrCat("file '", name.string(),
                         "': cannot be read: ", got == 0 ? "it has become shorter" : std::strerror(errno)));
      done += static_cast<size_t>(got);
    }
    return absl::OkStatus();
  }));
  return content;
}

absl::Status CheckFileBeneath(const fs::path& folder, const fs::path& name) {
  return WithFile(folder, name, [](int, size_t) { return absl::OkStatus(); });
}

}  // namespace hachi
