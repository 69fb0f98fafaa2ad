#include "server/commands/model_argument.h"

#include <algorithm>
#include <system_error>

#include "absl/strings/str_cat.h"
#include "config/model_config.h"
#include "engine/base/status_macros.h"
#include "server/commands/shapes.h"
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

std::vector<std::string> PrecisionWords() {
  std::vector<std::string> words;
  for (const auto& [precision, name] : kPrecisionNames) words.emplace_back(name);
  return words;
}

absl::StatusOr<std::shared_ptr<const RowShapes>> ShapesOf(const Model& model,
                                                          std::span<const std::string> shapes) {
  const Signature& signature = model.signature();
  ASSIGN_OR_RETURN(const auto given, ParseShapes(shapes));
  std::vector<std::vector<int64_t>> rows;
  for (const TensorSignature& input : signature.inputs) {
    const auto own = given.find(input.name);
    if (own == given.end()) {
      if (input.is_free())
        return absl::InvalidArgumentError(absl::StrCat("input '", input.name, "' has free dimensions ",
                                                       input.DimsText(), ", expected --shape ", input.name,
                                                       "=", signature.batched ? "1,..." : "..."));
      rows.push_back(input.dims);
      continue;
    }
    std::vector<int64_t> row = own->second;
    if (signature.batched && !row.empty()) row.erase(row.begin());
    rows.push_back(std::move(row));
  }
  for (const auto& [name, shape] : given)
    if (std::ranges::count(signature.inputs, name, &TensorSignature::name) == 0)
      return absl::InvalidArgumentError(absl::StrCat("--shape: '", name, "', expected the name of an input"));
  return model.ShapesOf(rows, {});
}

}  // namespace hachi::server
