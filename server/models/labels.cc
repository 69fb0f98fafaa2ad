#include "server/models/labels.h"

#include <algorithm>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "engine/base/beneath.h"
#include "engine/base/status_macros.h"
#include "engine/base/text.h"

namespace hachi::server {
namespace {

constexpr size_t kMaxLabelBytes = size_t{1} << 20;

absl::StatusOr<std::vector<std::string>> ReadLines(const std::filesystem::path& dir,
                                                   const std::filesystem::path& file) {
  ASSIGN_OR_RETURN(const std::string text, ReadFileBeneath(dir, file, kMaxLabelBytes));
  std::vector<std::string> lines = absl::StrSplit(text, '\n');
  for (std::string& line : lines)
    if (line.ends_with('\r')) line.pop_back();
  while (!lines.empty() && lines.back().empty()) lines.pop_back();
  for (size_t i = 0; i < lines.size(); ++i) {
    if (!IsPrintable(lines[i]))
      return absl::InvalidArgumentError(
          absl::StrCat(file.string(), ":", i + 1, ": is not text, expected a label in UTF-8"));
  }
  return lines;
}

bool IsInteger(DType dtype) {
  return dtype != DType::kF32 && dtype != DType::kF64 && dtype != DType::kF16 && dtype != DType::kBF16;
}

absl::Status CheckCount(int64_t labels, const TensorSignature& output) {
  const bool fits = (!output.is_free() && labels == CountOf(output.dims)) ||
                    std::find(output.dims.begin(), output.dims.end(), labels) != output.dims.end();
  if (labels > 0 && (fits || IsInteger(output.dtype))) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("has ", labels, " labels, expected one for each of ", output.DimsText()));
}

}  // namespace

absl::StatusOr<Labels> ReadLabels(const ModelConfig& config, const Signature& signature) {
  Labels labels;
  for (const auto& [name, output] : config.outputs) {
    const std::string what = absl::StrCat("output '", name, "'");
    const auto found =
        std::find_if(signature.outputs.begin(), signature.outputs.end(),
                     [&name = name](const TensorSignature& candidate) { return candidate.name == name; });
    if (found == signature.outputs.end())
      return absl::InvalidArgumentError(absl::StrCat(
          what, ": unknown, expected ",
          absl::StrJoin(signature.outputs, ", ", [](std::string* out, const TensorSignature& candidate) {
            absl::StrAppend(out, "'", candidate.name, "'");
          })));
    if (output.labels.empty()) continue;
    const auto lines = ReadLines(config.dir, output.labels);
    RETURN_IF_ERROR(WithContext(lines.status(), what));
    RETURN_IF_ERROR(WithContext(CheckCount(static_cast<int64_t>(lines->size()), *found),
                                absl::StrCat(what, ": ", output.labels.string())));
    labels[name] = absl::StrJoin(*lines, "\n");
  }
  return labels;
}

}  // namespace hachi::server
