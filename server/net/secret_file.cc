#include "server/net/secret_file.h"

#include <sys/stat.h>

#include <string>

#include "absl/strings/str_cat.h"
#include "engine/base/log.h"

namespace hachi::server {

void WarnOfReaders(std::string_view what, const std::filesystem::path& file) {
  struct stat about = {};
  if (stat(file.c_str(), &about) != 0 || (about.st_mode & (S_IRGRP | S_IROTH)) == 0) return;
  LogWarning(absl::StrCat(std::string(what), " '", file.string(), "' may be read by ",
                          (about.st_mode & S_IROTH) != 0 ? "everybody" : "its group",
                          ", expected its owner alone"));
}

}  // namespace hachi::server
