#pragma once

#include <filesystem>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <variant>

#include "absl/status/statusor.h"
#include "engine/quant/calibration_table.h"

namespace hachi {

// The ranges of activations in a table that another tool wrote; README.md says which are read, and what of
// them.
struct ForeignTable {
  struct Range {
    float min, max;  // finite, min <= max
  };
  std::string tool;  // "ONNX Runtime", "TensorRT", "ncnn"

  // Names are those of nodes (their first outputs, where they have none), whose first input has the range;
  // else of tensors.
  bool names_layers = false;

  // The tool keeps the largest magnitude alone, so that min is -max whatever signs were seen.
  bool only_magnitudes = false;

  std::map<std::string, Range, std::less<>> ranges;
};

// Whether the text is of a tool that ParseForeignTable knows, by how it begins or what it holds.
bool IsForeignTable(std::string_view text);

// DATA_LOSS naming the line or the tensor when the text is damaged, INVALID_ARGUMENT when it has no ranges.
// REQUIRES: IsForeignTable(text).
absl::StatusOr<ForeignTable> ParseForeignTable(std::string_view text);

// A file that holds either kind. Errors are those of both, and of ReadFile.
absl::StatusOr<std::variant<CalibrationTable, ForeignTable>> ReadAnyTable(const std::filesystem::path& file);

// The table as ONNX Runtime's quantization tools keep theirs (TensorsData as JSON). Lines that are commented
// out, and tensors that can't be stored as integers, are left out.
std::string OnnxRuntimeText(const CalibrationTable& table);

}  // namespace hachi
