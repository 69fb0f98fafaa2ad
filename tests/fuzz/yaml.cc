// A server's configuration, and a model's.
#include "config/yaml.h"

#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "config/server_config.h"
#include "tests/fuzz/fuzz.h"

namespace {

namespace fs = std::filesystem;

// A folder with models to name: "digits" is a good one, "own" has the input as its model.yaml.
class Folder {
 public:
  Folder() : path_(fs::temp_directory_path() / ("hachi_fuzz_yaml_" + std::to_string(getpid()))) {
    for (const char* model : {"models/digits", "own"}) {
      fs::create_directories(path_ / model);
      std::ofstream(path_ / model / "model.onnx") << "x";
    }
    std::ofstream(path_ / "own/labels.txt") << "x";
  }
  ~Folder() { fs::remove_all(path_); }

  fs::path Write(const char* name, std::string_view text) const {
    std::ofstream(path_ / name, std::ios::binary) << text;
    return path_ / name;
  }
  fs::path path() const { return path_; }

 private:
  const fs::path path_;
};

// A mistake is said with the file that has it, in one line.
void RequireGoodError(const absl::Status& status, const char* file) {
  if (status.ok()) return;
  hachi::Require(status.message().find(file) != absl::string_view::npos, "an error names its file");
  hachi::Require(status.message().find('\n') == absl::string_view::npos, "an error is one line");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const Folder folder;
  const std::string_view text = hachi::TextOf(data, size);
  const auto parsed = hachi::server::ParseYaml(std::string(text), "any.yaml");
  RequireGoodError(parsed.status(), "any.yaml");
  const auto server = hachi::server::ReadServerConfig(folder.Write("server.yaml", text));
  RequireGoodError(server.status(), "server.yaml");
  hachi::Require(!server.ok() || (parsed.ok() && !server->models.empty()), "a server has models");
  folder.Write("own/model.yaml", text);
  const auto model = hachi::server::ReadModelDirectory(folder.path() / "own");
  RequireGoodError(model.status(), "own");
  hachi::Require(!model.ok() || (parsed.ok() && model->versions.size() == 1), "a model has its version");
  return 0;
}
