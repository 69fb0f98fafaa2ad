#include "server/commands/model_argument.h"

#include <algorithm>
#include <system_error>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "config/model_config.h"
#include "engine/base/status_macros.h"
#include "engine/tensor/tensor.h"
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
  const std::filesystem::path tuned = model.parent_path() / "decisions.txt";
  if (std::filesystem::is_regular_file(tuned, error)) options.tuned = tuned;
  options.max_batch_rows = BatchingConfig().max_batch_rows;
  return options;
}

std::vector<std::string> PrecisionWords() {
  std::vector<std::string> words;
  for (const auto& [precision, name] : kPrecisionNames) words.emplace_back(name);
  return words;
}

namespace {

// The elements of each input as clients would send them, by the inputs' places; nothing where none are given.
absl::StatusOr<std::vector<std::vector<std::byte>>> ParseValues(const Signature& signature,
                                                                std::span<const std::string> arguments) {
  std::vector<std::vector<std::byte>> values(signature.inputs.size());
  for (const std::string& argument : arguments) {
    const size_t equals = argument.rfind('=');
    const auto input =
        std::ranges::find(signature.inputs, argument.substr(0, equals), &TensorSignature::name);
    const absl::Status invalid = absl::InvalidArgumentError(absl::StrCat(
        "--value: '", argument, "', expected NAME=16000 with the elements of an input that decides"));
    if (equals == std::string::npos || input == signature.inputs.end() || !input->decides) return invalid;
    std::vector<std::byte>& bytes = values[static_cast<size_t>(input - signature.inputs.begin())];
    for (const auto& text : absl::StrSplit(argument.substr(equals + 1), ',')) {
      double number = 0;
      if (!absl::SimpleAtod(text, &number)) return invalid;
      const bool written = VisitDType(input->dtype, [&](auto zero) {
        const auto element = static_cast<decltype(zero)>(number);
        const auto* from = reinterpret_cast<const std::byte*>(&element);
        bytes.insert(bytes.end(), from, from + sizeof element);
      });
      if (!written) return invalid;
    }
  }
  return values;
}

}  // namespace

absl::StatusOr<std::shared_ptr<const RowShapes>> ShapesOf(const Model& model,
                                                          std::span<const std::string> shapes,
                                                          std::span<const std::string> values) {
  const Signature& signature = model.signature();
  ASSIGN_OR_RETURN(const auto deciding, ParseValues(signature, values));
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
  std::vector<InputChunks> chunks;
  for (size_t i = 0; i < deciding.size(); ++i) {
    if (signature.inputs[i].decides && deciding[i].empty())
      return absl::InvalidArgumentError(absl::StrCat("input '", signature.inputs[i].name,
                                                     "' decides what the model computes, expected --value ",
                                                     signature.inputs[i].name, "=..."));
    chunks.push_back({deciding[i]});
  }
  return model.ShapesOf(rows, chunks);
}

}  // namespace hachi::server
