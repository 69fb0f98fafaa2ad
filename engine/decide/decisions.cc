#include "engine/decide/decisions.h"

#include <array>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "engine/base/status_macros.h"

namespace hachi {
namespace {

constexpr std::array<std::pair<Origin, std::string_view>, 5> kOrigins = {
    {{Origin::kPin, "pin"},
     {Origin::kTableComment, "table_comment"},
     {Origin::kTune, "tune"},
     {Origin::kGuard, "guard"},
     {Origin::kDefault, "default"}}};

absl::Status SetField(std::string_view key, const std::string& value, Decision& decision) {
  const auto unexpected = [&](std::string_view expected) {
    return absl::InvalidArgumentError(
        absl::StrCat(std::string(key), ": '", value, "', expected ", std::string(expected)));
  };
  if (key == "precision") {
    const auto precision = ParsePrecision(value);
    if (precision != Precision::kInt8 && precision != Precision::kBf16 && precision != Precision::kFp32)
      return unexpected("int8, bf16 or fp32");
    decision.precision = *precision;
  } else if (key == "range") {
    ASSIGN_OR_RETURN(decision.range, ParseRangeMethod(value));
  } else if (key == "kernel") {
    if (value.empty()) return unexpected("the name of a kernel");
    decision.kernel = value;
  } else if (key == "origin") {
    for (const auto& [origin, name] : kOrigins)
      if (name == value) {
        decision.origin = origin;
        return absl::OkStatus();
      }
    return unexpected("pin, table_comment, tune, guard or default");
  } else {
    return absl::InvalidArgumentError(
        absl::StrCat("'", std::string(key), "', expected precision, range, kernel or origin"));
  }
  return absl::OkStatus();
}

}  // namespace

std::string_view NameOf(Origin origin) { return kOrigins[static_cast<size_t>(origin)].second; }

absl::StatusOr<Decisions> Decisions::Parse(std::string_view text) {
  Decisions decisions;
  int number = 0;
  const std::vector<std::string> lines = absl::StrSplit(std::string(text), '\n');
  for (const std::string& line : lines) {
    ++number;
    if (line.empty()) continue;
    const std::vector<std::string> words = absl::StrSplit(line, ' ');
    const std::string what = absl::StrCat("decisions: line ", number);
    if (words.front().empty() || decisions.Find(words.front()) != nullptr)
      return absl::InvalidArgumentError(
          absl::StrCat(what, ": node '", words.front(), "', expected each node's name once, in front"));
    Decision decision;
    for (size_t i = 1; i < words.size(); ++i) {
      const size_t equals = words[i].find('=');
      const std::string value = equals == std::string::npos ? "" : words[i].substr(equals + 1);
      RETURN_IF_ERROR(WithContext(SetField(words[i].substr(0, equals), value, decision), what));
    }
    decisions.Set(words.front(), std::move(decision));
  }
  return decisions;
}

std::string Decisions::ToText() const {
  std::string text;
  for (const auto& [node, decision] : by_node_) {
    absl::StrAppend(&text, node, " precision=", std::string(NameOf(decision.precision)));
    if (decision.precision == Precision::kInt8)
      absl::StrAppend(&text, " range=", std::string(NameOf(decision.range)));
    if (!decision.kernel.empty()) absl::StrAppend(&text, " kernel=", decision.kernel);
    absl::StrAppend(&text, " origin=", std::string(NameOf(decision.origin)), "\n");
  }
  return text;
}

const Decision* Decisions::Find(std::string_view node) const {
  const auto found = by_node_.find(node);
  return found == by_node_.end() ? nullptr : &found->second;
}

}  // namespace hachi
