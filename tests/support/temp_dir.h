#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "absl/strings/str_cat.h"

namespace hachi {

// A directory of its own that goes away with the object.
class TempDir {
 public:
  TempDir()
      : path_(std::filesystem::path(testing::TempDir()) /
              absl::StrCat("hachi_test_", getpid(), "_", next_++)) {
    std::filesystem::create_directories(path_);
  }
  ~TempDir() { std::filesystem::remove_all(path_); }
  const std::filesystem::path& path() const { return path_; }

  std::filesystem::path Write(const std::string& name, const std::string& bytes) const {
    const auto file = path_ / name;
    std::filesystem::create_directories(file.parent_path());
    std::ofstream(file, std::ios::binary).write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
    return file;
  }

 private:
  static inline int next_ = 0;
  std::filesystem::path path_;
};

}  // namespace hachi
