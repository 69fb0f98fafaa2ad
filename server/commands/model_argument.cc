#include "server/commands/model_argument.h"

#include <system_error>

#include "config/model_config.h"
#include "engine/base/status_macros.h"
#include "server/models/load_options.h"

namespace hachi::server {

absl::StatusOr<LoadOptions> ReadModelArgument(const std::filesystem::path& model) {
  std::error_code error;
  if (std::filesystem::is_directory(model, error)) {
    ASSIGN_OR_RETURN(const ModelConfig config, ReadModelDirectory(model));
    return LoadOptionsOf(config, config.versions.back(), /*threads=*/1);
  }
  LoadOptions options{.name = model.stem().string(), .model = model};
  const std::filesystem::path table = model.parent_path() / "calibration.txt";
  if (std::filesystem::is_regular_file(table, error)) options.table = table;
  options.max_batch_rows = BatchingConfig().max_batch_rows;
  return options;
}

Precision PrecisionOf(const std::string& name) {
  if (name == "int8") return Precision::kInt8;
  if (name == "bf16") return Precision::kBf16;
  return name == "fp32" ? Precision::kFp32 : Precision::kAuto;
}

}  // namespace hachi::server
