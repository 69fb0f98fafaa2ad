#pragma once

#include <sys/mman.h>
#include <unistd.h>

#include <filesystem>
#include <string>

#include "tests/fuzz/fuzz.h"

namespace hachi {

// The input as a file in memory, for what reads files by their path.
class InputFile {
 public:
  InputFile(const uint8_t* data, size_t size) : file_(memfd_create("input", MFD_CLOEXEC)) {
    Require(file_ >= 0 && write(file_, data, size) == static_cast<ssize_t>(size),
            "there is a file in memory");
  }
  ~InputFile() { close(file_); }
  InputFile(const InputFile&) = delete;
  InputFile& operator=(const InputFile&) = delete;

  std::filesystem::path path() const { return "/proc/self/fd/" + std::to_string(file_); }

 private:
  const int file_;
};

}  // namespace hachi
