#include "engine/tune/guard_cache.h"

#include <charconv>
#include <system_error>
#include <utility>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "engine/base/file.h"
#include "engine/base/status_macros.h"
#include "engine/cpu/isa.h"
#include "engine/tune/golden.h"

namespace hachi {
namespace {

constexpr char kFormat[] = "hachi_guard 1";
constexpr char kEnd[] = "end ";
constexpr size_t kMaxBytes = size_t{16} << 20;

// Takes the parts of a verdict's text one after the other.
class Reader {
 public:
  explicit Reader(std::string_view text) : lines_(absl::StrSplit(std::string(text), '\n')) {}

  // The rest of the next line, which begins with `key`.
  absl::StatusOr<std::string> Field(std::string_view key) {
    const std::string line = Line();
    if (line.starts_with(key)) return line.substr(key.size());
    return absl::DataLossError(absl::StrCat("guard: '", line, "', expected '", std::string(key), "...'"));
  }
  absl::StatusOr<double> Number(std::string_view key) {
    ASSIGN_OR_RETURN(const std::string text, Field(key));
    double number = 0;
    if (absl::SimpleAtod(text, &number)) return number;
    return absl::DataLossError(absl::StrCat("guard: '", text, "', expected a number"));
  }
  std::string Line() { return at_ < lines_.size() ? lines_[at_++] : ""; }

 private:
  const std::vector<std::string> lines_;
  size_t at_ = 0;
};

template <typename Names>
absl::StatusOr<typename Names::value_type::first_type> Named(const Names& names, std::string_view text) {
  for (const auto& [value, name] : names)
    if (name == text) return value;
  return absl::DataLossError(absl::StrCat("guard: '", std::string(text), "', expected one of the names"));
}

std::string InputText(const std::string& name, const InputOptions& input) {
  std::string text = absl::StrFormat("input %s %d %d", name,
                                     input.dtype ? static_cast<int>(*input.dtype) : -1, input.channels_last);
  for (const float mean : input.mean) absl::StrAppend(&text, " mean ", mean);
  for (const float scale : input.scale) absl::StrAppend(&text, " scale ", scale);
  for (const auto& [symbol, dim] : input.dims) {
    absl::StrAppend(&text, " dim ", symbol, " ", dim.max.value_or(-1), " ", dim.pad);
    for (const int64_t bucket : dim.buckets) absl::StrAppend(&text, " ", bucket);
  }
  return text;
}

// How the model is asked for, as far as answers depend on it.
std::string OptionsText(const LoadOptions& options) {
  std::string text = absl::StrCat(
      "precision ", std::string(NameOf(options.precision)), "\nrange ", options.range_method, "\nrepairs ",
      options.repairs.equalization, " ", options.repairs.bias_correction, "\ndecisions ", options.decisions,
      "\nguard ", options.guard.max_drop, " ", std::string(NameOf(options.guard.metric)), " ",
      static_cast<int>(options.guard.on_failure), " ", absl::FormatDuration(options.guard.time), "\n");
  for (const auto& [name, input] : options.inputs) absl::StrAppend(&text, InputText(name, input), "\n");
  for (const auto& [pattern, precision] : options.layers)
    absl::StrAppend(&text, "pin ", pattern, " ", std::string(NameOf(precision)), "\n");
  for (const std::string& pass : options.skip_passes) absl::StrAppend(&text, "skip ", pass, "\n");
  return text;
}

}  // namespace

std::string GuardVerdict::ToText() const {
  std::string text = absl::StrCat(kFormat, "\nresult ", std::string(NameOf(report.result)), "\nmetric ",
                                  std::string(NameOf(report.metric)), "\n");
  absl::StrAppendFormat(&text, "drop %.17g\nserved_drop %.17g\nlayers %d\n", report.drop, report.served_drop,
                        report.layers.size());
  for (const std::string& layer : report.layers) absl::StrAppend(&text, layer, "\n");
  absl::StrAppend(&text, "decisions\n", decisions);
  return absl::StrCat(text, kEnd, *Sha256Of(text, {}), "\n");
}

absl::StatusOr<GuardVerdict> GuardVerdict::Parse(std::string_view text) {
  const size_t end = text.rfind(kEnd);
  const std::string_view body = text.substr(0, end == std::string_view::npos ? 0 : end);
  ASSIGN_OR_RETURN(const std::string hash, Sha256Of(body, {}));
  if (body.empty() || text.substr(end) != absl::StrCat(kEnd, hash, "\n"))
    return absl::DataLossError("guard: the text does not end with its hash, expected it whole");
  Reader reader(body);
  GuardVerdict verdict;
  GuardReport& report = verdict.report;
  RETURN_IF_ERROR(reader.Field(kFormat).status());
  ASSIGN_OR_RETURN(const std::string result, reader.Field("result "));
  ASSIGN_OR_RETURN(report.result, Named(kGuardResultNames, result));
  ASSIGN_OR_RETURN(const std::string metric, reader.Field("metric "));
  ASSIGN_OR_RETURN(report.metric, Named(kMetricNames, metric));
  ASSIGN_OR_RETURN(report.drop, reader.Number("drop "));
  ASSIGN_OR_RETURN(report.served_drop, reader.Number("served_drop "));
  ASSIGN_OR_RETURN(const double layers, reader.Number("layers "));
  for (double i = 0; i < layers; ++i) report.layers.push_back(reader.Line());
  RETURN_IF_ERROR(reader.Field("decisions").status());
  for (std::string line = reader.Line(); !line.empty(); line = reader.Line())
    absl::StrAppend(&verdict.decisions, line, "\n");
  return verdict;
}

absl::StatusOr<std::string> GuardCache::KeyOf(const LoadOptions& options, std::string_view model_sha256) {
  ASSIGN_OR_RETURN(std::vector<std::filesystem::path> files, GoldenFiles(options.guard.golden));
  std::string head =
      absl::StrCat(kFormat, " ", HACHI_VERSION, " ", std::string(NameOf(DetectIsa())), " ", HasBf16(),
                   "\nmodel ", std::string(model_sha256), "\n", OptionsText(options));
  for (const std::filesystem::path& file : files) {
    std::error_code error;
    absl::StrAppend(&head, std::filesystem::file_size(file, error), " ",
                    file.lexically_relative(options.guard.golden).string(), "\n");
  }
  for (const std::filesystem::path& file : {options.table, options.tuned}) {
    std::error_code error;
    absl::StrAppend(&head, file.empty() ? 0 : std::filesystem::file_size(file, error), "\n");
    if (!file.empty()) files.push_back(file);
  }
  return Sha256Of(head, files);
}

std::optional<GuardVerdict> GuardCache::Find(const std::string& key) const {
  const auto text = ReadFile(folder_ / key, kMaxBytes);
  if (!text.ok()) return std::nullopt;
  auto verdict = GuardVerdict::Parse(*text);
  if (!verdict.ok()) return std::nullopt;
  verdict->report.from_cache = true;
  return *std::move(verdict);
}

absl::Status GuardCache::Remember(const std::string& key, const GuardVerdict& verdict) const {
  std::error_code error;
  std::filesystem::create_directories(folder_, error);
  return WriteFile(folder_ / key, verdict.ToText());
}

}  // namespace hachi
