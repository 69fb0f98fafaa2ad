#include "server/models/client_message.h"

#include <system_error>

#include "absl/strings/str_replace.h"

namespace hachi::server {
namespace {

namespace fs = std::filesystem;

// Where a path ends that begins at the front of `text`.
size_t PathLength(std::string_view text) {
  return std::min(text.size(), text.find_first_of(" \t\n'\",;:()[]"));
}

bool IsPathOfThisMachine(const fs::path& path) {
  std::error_code error;
  const fs::path folder = path.parent_path();
  return folder != folder.root_path() && folder.is_absolute() && fs::exists(folder, error);
}

}  // namespace

std::string WithoutPaths(std::string_view message, const fs::path& dir) {
  std::string text(message);
  std::error_code error;
  if (!dir.empty())
    for (const fs::path& name : {dir, fs::absolute(dir, error), fs::weakly_canonical(dir, error)})
      if (const std::string prefix = (name / "").string(); prefix.size() > 1)
        text = absl::StrReplaceAll(text, {{prefix, ""}});
  std::string clean;
  for (size_t i = 0; i < text.size();) {
    const bool begins = text[i] == '/' && (i == 0 || PathLength(std::string_view(text).substr(i - 1)) == 0);
    const size_t length = begins ? PathLength(std::string_view(text).substr(i)) : 1;
    const std::string part = text.substr(i, length);
    clean += begins && IsPathOfThisMachine(part) ? fs::path(part).filename().string() : part;
    i += length;
  }
  return clean;
}

}  // namespace hachi::server
