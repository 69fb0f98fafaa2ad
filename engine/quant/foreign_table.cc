#include "engine/quant/foreign_table.h"

#include <algorithm>
#include <bit>
#include <charconv>
#include <cmath>
#include <cstdint>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "engine/base/file.h"
#include "engine/base/status_macros.h"

namespace hachi {
namespace {

using nlohmann::json;
using Range = ForeignTable::Range;

constexpr std::string_view kTensorRt = "TRT-";
constexpr std::string_view kWeightsRow = "_param_";  // ncnn: of a layer's weights, "conv1_param_0 ..."
constexpr size_t kMaxBytes = size_t{64} << 20;       // of ONNX Runtime's, histograms included
constexpr float kLevels = 127;  // a scale of the tools that keep magnitudes stands for this part of one

std::string_view Trimmed(std::string_view text) {
  constexpr std::string_view kSpace = " \t\r\n";
  const size_t first = text.find_first_not_of(kSpace);
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(kSpace) - first + 1);
}

std::string Shown(std::string_view text) { return absl::CEscape(std::string(text.substr(0, 60))); }

// Takes the first line away from `text`.
std::string_view TakeLine(std::string_view& text) {
  const std::string_view line = text.substr(0, text.find('\n'));
  text.remove_prefix(std::min(text.size(), line.size() + 1));
  return Trimmed(line);
}

std::string_view TakeWord(std::string_view& line) {
  const std::string_view word = line.substr(0, line.find_first_of(" \t"));
  line = Trimmed(line.substr(word.size()));
  return word;
}

std::optional<float> FloatOf(std::string_view text) {
  float number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return number;
}

// A tool's line is no good: where, what was found, what was expected.
absl::Status BadLine(int64_t number, std::string_view line, std::string_view expected) {
  return absl::DataLossError(
      absl::StrCat("line ", number, ": '", Shown(line), "', expected ", std::string(expected)));
}

// Adds the range of a magnitude; false when it is none.
bool AddMagnitude(std::string_view name, float magnitude, ForeignTable& table) {
  if (!std::isfinite(magnitude) || magnitude < 0 || name.empty()) return false;
  table.ranges.emplace(std::string(name), Range{-magnitude, magnitude});
  return true;
}

// "TRT-8601-EntropyCalibration2", then "tensor: 3c008912": the bits of an f32, the magnitude over 127.
absl::StatusOr<ForeignTable> ParseTensorRt(std::string_view text) {
  ForeignTable table = {.tool = "TensorRT", .only_magnitudes = true};
  TakeLine(text);
  for (int64_t number = 2; !text.empty(); ++number) {
    const std::string_view line = TakeLine(text);
    if (line.empty()) continue;
    const size_t colon = line.rfind(':');
    const std::string_view name = line.substr(0, colon);
    const std::string_view digits =
        colon == std::string_view::npos ? std::string_view() : Trimmed(line.substr(colon + 1));
    uint32_t bits = 0;
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), bits, 16);
    if (error != std::errc() || end != digits.data() + digits.size() ||
        !AddMagnitude(name, std::bit_cast<float>(bits) * kLevels, table))
      return BadLine(number, line,
                     "a tensor's name, ': ' and the bits of a finite f32 in hexadecimal digits");
  }
  return table;
}

// "conv1_param_0 s0 s1 ...": scales of weights, which we choose ourselves; "conv1 s": 127 over the magnitude
// of what the layer reads. Lines behind '#' are not there.
absl::StatusOr<ForeignTable> ParseNcnn(std::string_view text) {
  ForeignTable table = {.tool = "ncnn", .names_layers = true, .only_magnitudes = true};
  for (int64_t number = 1; !text.empty(); ++number) {
    const std::string_view line = TakeLine(text);
    if (line.empty() || line.starts_with('#')) continue;
    std::string_view rest = line;
    const std::string_view name = TakeWord(rest);
    float least = std::numeric_limits<float>::infinity();
    while (!rest.empty()) {
      const auto scale = FloatOf(TakeWord(rest));
      if (!scale || !std::isfinite(*scale)) return BadLine(number, line, "a layer's name and scales");
      least = std::min(least, *scale);
    }
    if (name.find(kWeightsRow) != std::string_view::npos) continue;
    if (!(least > 0) || !std::isfinite(least) || !AddMagnitude(name, kLevels / least, table))
      return BadLine(number, line, "a layer's name and positive scales");
  }
  return table;
}

// The least and the greatest of the numbers in a JSON value: a number, arrays of them, or NumPy's array as
// {"data": ...}.
class Extremes {
 public:
  // False when there is something else in it, or no number.
  bool Add(const json& value) {
    bool any = false;
    std::vector<const json*> left = {&value};
    while (!left.empty()) {
      const json& next = *left.back();
      left.pop_back();
      if (next.is_number()) {
        any = true;
        least = std::min(least, next.get<double>());
        greatest = std::max(greatest, next.get<double>());
      } else if (next.is_array()) {
        for (const json& element : next) left.push_back(&element);
      } else if (const auto data = next.find("data"); next.is_object() && data != next.end()) {
        left.push_back(&*data);
      } else {
        return false;
      }
    }
    return any;
  }

  double least = std::numeric_limits<double>::infinity();
  double greatest = -std::numeric_limits<double>::infinity();
};

// [min, max, ...] or {"lowest": ..., "highest": ...}.
std::optional<Range> OnnxRuntimeRange(const json& entry) {
  const json *lowest = nullptr, *highest = nullptr;
  if (entry.is_array() && entry.size() >= 2) {
    lowest = &entry[0];
    highest = &entry[1];
  } else if (entry.is_object() && entry.contains("lowest") && entry.contains("highest")) {
    lowest = &entry["lowest"];
    highest = &entry["highest"];
  } else {
    return std::nullopt;
  }
  // Of constants it writes both ends rounded apart, the wrong way round at times.
  Extremes ends;
  if (!ends.Add(*lowest) || !ends.Add(*highest)) return std::nullopt;
  const Range range = {static_cast<float>(ends.least), static_cast<float>(ends.greatest)};
  if (!std::isfinite(range.min) || !std::isfinite(range.max)) return std::nullopt;
  return range;
}

absl::StatusOr<ForeignTable> ParseOnnxRuntime(std::string_view text) {
  const json file = json::parse(text.begin(), text.end(), nullptr, /*allow_exceptions=*/false);
  if (!file.is_object()) return absl::DataLossError("begins as JSON and is no object of JSON, expected one");
  const json* entries = &file;
  if (file.contains("CLS") && file.contains("data")) entries = &file["data"];
  if (!entries->is_object())
    return absl::DataLossError("'data' is no JSON object, expected one of tensors' ranges");
  ForeignTable table = {.tool = "ONNX Runtime"};
  for (const auto& [name, entry] : entries->items()) {
    const auto range = OnnxRuntimeRange(entry);
    if (!range)
      return absl::DataLossError(
          absl::StrCat("tensor '", Shown(name),
                       "': no range, expected finite numbers [min, max], or lowest and "
                       "highest"));
    table.ranges.emplace(name, *range);
  }
  return table;
}

bool IsJson(std::string_view text) { return Trimmed(text.substr(0, 64)).starts_with('{'); }

json NumpyArray(float value) { return {{"CLS", "numpy.array"}, {"data", value}, {"dtype", "float32"}}; }

}  // namespace

bool IsForeignTable(std::string_view text) {
  if (IsJson(text) || text.starts_with(kTensorRt)) return true;
  // ncnn's has no head, but rows of weights, in front.
  while (!text.empty()) {
    std::string_view line = TakeLine(text);
    if (line.empty() || line.starts_with('#')) continue;
    return TakeWord(line).find(kWeightsRow) != std::string_view::npos;
  }
  return false;
}

absl::StatusOr<ForeignTable> ParseForeignTable(std::string_view text) {
  if (text.size() > kMaxBytes)
    return absl::InvalidArgumentError(absl::StrCat(text.size(), " bytes, expected at most ", kMaxBytes));
  ASSIGN_OR_RETURN(ForeignTable table, IsJson(text)                  ? ParseOnnxRuntime(text)
                                       : text.starts_with(kTensorRt) ? ParseTensorRt(text)
                                                                     : ParseNcnn(text));
  if (table.ranges.empty())
    return absl::InvalidArgumentError(
        absl::StrCat("a table of ", table.tool, " without ranges, expected some"));
  return table;
}

absl::StatusOr<std::variant<CalibrationTable, ForeignTable>> ReadAnyTable(const std::filesystem::path& file) {
  ASSIGN_OR_RETURN(const std::string text, ReadFile(file));
  const auto in_file = [&](const absl::Status& status) {
    return WithContext(status, absl::StrCat("calibration table '", file.string(), "'"));
  };
  if (IsForeignTable(text)) {
    auto foreign = ParseForeignTable(text);
    if (!foreign.ok()) return in_file(foreign.status());
    return *std::move(foreign);
  }
  auto own = CalibrationTable::Parse(text);
  if (!own.ok()) return in_file(own.status());
  return *std::move(own);
}

std::string OnnxRuntimeText(const CalibrationTable& table) {
  json data = json::object();
  for (const auto& [name, entry] : table.tensors())
    if (!entry.commented_out && entry.stats.quantizable())
      data[name] = {{"CLS", "TensorData"},
                    {"lowest", NumpyArray(entry.stats.min())},
                    {"highest", NumpyArray(entry.stats.max())}};
  const json file = {
      {"CLS", "TensorsData"},
      {"calibration_method", {{"CLS", "CalibrationMethod"}, {"value", "CalibrationMethod.MinMax"}}},
      {"data", std::move(data)}};
  return file.dump(/*indent=*/1, ' ', /*ensure_ascii=*/false, json::error_handler_t::replace) + "\n";
}

}  // namespace hachi
