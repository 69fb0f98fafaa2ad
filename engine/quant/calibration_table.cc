#include "engine/quant/calibration_table.h"

#include <algorithm>
#include <charconv>
#include <optional>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "engine/base/file.h"
#include "engine/base/status_macros.h"

namespace hachi {
namespace {

constexpr std::string_view kFormat = "hachi calibration table, format ";
constexpr std::string_view kVersion = "1";

// Text that stands in one line: bytes that would end a word, begin a comment or quote become %XX.
std::string Escape(std::string_view text, bool keep_spaces) {
  std::string escaped;
  for (const char c : text) {
    const auto byte = static_cast<uint8_t>(c);
    if ((byte <= ' ' && !(keep_spaces && c == ' ')) || byte == 0x7f || c == '%' || c == '#' || c == '"' ||
        c == '\'')
      absl::StrAppend(&escaped, "%", absl::Hex(byte, absl::kZeroPad2));
    else
      escaped.push_back(c);
  }
  return escaped;
}

std::optional<std::string> Unescape(std::string_view text) {
  std::string plain;
  for (; !text.empty(); text.remove_prefix(1)) {
    if (text[0] != '%') {
      plain.push_back(text[0]);
      continue;
    }
    uint8_t byte = 0;
    if (text.size() < 3 || std::from_chars(text.data() + 1, text.data() + 3, byte, 16).ptr != text.data() + 3)
      return std::nullopt;
    plain.push_back(static_cast<char>(byte));
    text.remove_prefix(2);
  }
  return plain;
}

bool IsSha256(std::string_view text) {
  return text.size() == 64 && text.find_first_not_of("0123456789abcdef") == std::string_view::npos;
}

// The lines of a table, with the number that errors name.
class Lines {
 public:
  explicit Lines(std::string_view text) : rest_(text) {}

  bool done() const { return rest_.empty(); }

  std::string_view Next() {
    ++number_;
    const std::string_view line = rest_.substr(0, rest_.find('\n'));
    rest_.remove_prefix(std::min(rest_.size(), line.size() + 1));
    return line;
  }

  absl::Status Damaged(std::string_view what) const {
    return absl::DataLossError(absl::StrCat("line ", number_, ": ", std::string(what)));
  }

  // What follows `key` on the next line.
  absl::StatusOr<std::string_view> Header(std::string_view key) {
    const std::string_view line = Next();
    if (!line.starts_with(key))
      return Damaged(absl::StrCat("'", absl::CEscape(std::string(line.substr(0, 60))), "', expected '",
                                  std::string(key), "...'"));
    return line.substr(key.size());
  }

  absl::StatusOr<std::string> TextHeader(std::string_view key) {
    ASSIGN_OR_RETURN(const std::string_view text, Header(key));
    const auto plain = Unescape(text);
    if (!plain) return Damaged("'%' without two hexadecimal digits");
    return *plain;
  }

  absl::StatusOr<int64_t> NumberHeader(std::string_view key) {
    ASSIGN_OR_RETURN(const std::string_view text, Header(key));
    int64_t number = 0;
    if (text.empty() || text.size() > 15 || text.find_first_not_of("0123456789") != std::string_view::npos)
      return Damaged(
          absl::StrCat("'", absl::CEscape(std::string(text.substr(0, 60))), "', expected a number"));
    std::from_chars(text.data(), text.data() + text.size(), number);
    return number;
  }

 private:
  std::string_view rest_;
  int64_t number_ = 0;
};

}  // namespace

std::string CalibrationTable::ToText() const {
  std::string text = absl::StrCat(
      std::string(kFormat), std::string(kVersion), "\nmodel: ", header_.model_sha256,
      "\ndata: ", Escape(header_.data_tag, /*keep_spaces=*/true), "\nsamples: ", header_.samples,
      "\ntensors: ", tensors_.size(), "\ntool: ", Escape(header_.tool_version, /*keep_spaces=*/true), "\n");
  for (const auto& [name, entry] : tensors_)
    absl::StrAppend(&text, entry.commented_out ? "#" : "", Escape(name, /*keep_spaces=*/false), " ",
                    entry.stats.ToText(), "\n");
  return text;
}

CalibrationTable CalibrationTable::OfRanges(std::map<std::string, TensorStats, std::less<>> ranges) {
  CalibrationTable table({});
  table.of_ranges_ = true;
  for (auto& [name, stats] : ranges) table.tensors_[name].stats = std::move(stats);
  return table;
}

absl::StatusOr<CalibrationTable> CalibrationTable::Parse(std::string_view text) {
  Lines lines(text);
  ASSIGN_OR_RETURN(const std::string_view version, lines.Header(kFormat));
  if (version != kVersion)
    return absl::UnimplementedError(absl::StrCat("line 1: format '",
                                                 absl::CEscape(std::string(version.substr(0, 60))),
                                                 "', expected ", std::string(kVersion)));
  Header header;
  ASSIGN_OR_RETURN(header.model_sha256, lines.TextHeader("model: "));
  if (!IsSha256(header.model_sha256)) return lines.Damaged("model is not 64 lower-case hexadecimal digits");
  ASSIGN_OR_RETURN(header.data_tag, lines.TextHeader("data: "));
  ASSIGN_OR_RETURN(header.samples, lines.NumberHeader("samples: "));
  ASSIGN_OR_RETURN(const int64_t tensors, lines.NumberHeader("tensors: "));
  ASSIGN_OR_RETURN(header.tool_version, lines.TextHeader("tool: "));
  CalibrationTable table(std::move(header));

  while (!lines.done()) {
    std::string_view line = lines.Next();
    if (line.find_first_not_of(' ') == std::string_view::npos || line.starts_with("##")) continue;
    const bool commented_out = line.starts_with('#');
    if (commented_out) line.remove_prefix(std::min(line.find_first_not_of("# "), line.size()));
    const std::string_view word = line.substr(0, line.find(' '));
    const auto name = Unescape(word);
    if (!name || name->empty())
      return lines.Damaged("expected a tensor's name, '%' followed by two hexadecimal digits");
    auto stats = TensorStats::Parse(line.substr(std::min(line.size(), word.size() + 1)));
    if (!stats.ok())
      return lines.Damaged(
          absl::StrCat("tensor '", absl::CEscape(*name), "': ", std::string(stats.status().message())));
    if (!table.tensors_.emplace(*name, Entry{*std::move(stats), commented_out}).second)
      return lines.Damaged(absl::StrCat("tensor '", absl::CEscape(*name), "': has a line already"));
  }
  if (static_cast<int64_t>(table.tensors_.size()) != tensors)
    return absl::DataLossError(absl::StrCat("has lines of ", table.tensors_.size(), " tensors, expected ",
                                            tensors, " as its header says"));
  return table;
}

absl::StatusOr<CalibrationTable> CalibrationTable::Read(const std::filesystem::path& file) {
  ASSIGN_OR_RETURN(const std::string text, ReadFile(file));
  auto table = Parse(text);
  if (!table.ok())
    return WithContext(table.status(), absl::StrCat("calibration table '", file.string(), "'"));
  return table;
}

absl::Status CalibrationTable::Write(const std::filesystem::path& file) const {
  return WriteFile(file, ToText());
}

absl::Status CalibrationTable::CheckBelongsTo(std::string_view model_sha256) const {
  if (header_.model_sha256 == model_sha256) return absl::OkStatus();
  return absl::FailedPreconditionError(absl::StrCat("calibration table: is for the model with SHA-256 ",
                                                    header_.model_sha256, ", expected ",
                                                    std::string(model_sha256)));
}

absl::StatusOr<const TensorStats*> CalibrationTable::Find(std::string_view tensor) const {
  const Entry* line = Line(tensor);
  if (line == nullptr && !of_ranges_)
    return absl::InvalidArgumentError(
        absl::StrCat("calibration table: tensor '", std::string(tensor),
                     "': not found, expected a line (behind '#' to run its consumers in FP32)"));
  return line == nullptr || line->commented_out ? nullptr : &line->stats;
}

const CalibrationTable::Entry* CalibrationTable::Line(std::string_view tensor) const {
  const auto found = tensors_.find(tensor);
  return found == tensors_.end() ? nullptr : &found->second;
}

void CalibrationTable::Observe(std::string_view tensor, std::span<const float> values,
                               const ChannelOrder& order) {
  auto found = tensors_.find(tensor);
  if (found == tensors_.end()) found = tensors_.emplace(tensor, Entry()).first;
  found->second.stats.Observe(values, order);
}

absl::Status CalibrationTable::Merge(const CalibrationTable& other) {
  RETURN_IF_ERROR(other.CheckBelongsTo(header_.model_sha256));
  const auto check_missing = [](const CalibrationTable& from, const CalibrationTable& in) -> absl::Status {
    for (const auto& [name, entry] : from.tensors_)
      if (!in.tensors_.contains(name))
        return absl::InvalidArgumentError(
            absl::StrCat("calibration table: tensor '", name,
                         "' is in only one of the tables to merge, expected in both: '",
                         from.header_.tool_version, "' wrote it, '", in.header_.tool_version, "' the other"));
    return absl::OkStatus();
  };
  if (header_.tool_version != other.header_.tool_version) {
    RETURN_IF_ERROR(check_missing(*this, other));
    RETURN_IF_ERROR(check_missing(other, *this));
  }
  header_.samples += other.header_.samples;
  if (header_.data_tag != other.header_.data_tag)
    absl::StrAppend(&header_.data_tag, "+", other.header_.data_tag);
  for (const auto& [name, entry] : other.tensors_) {
    Entry& mine = tensors_[name];
    mine.stats.Merge(entry.stats);
    mine.commented_out |= entry.commented_out;
  }
  return absl::OkStatus();
}

}  // namespace hachi
