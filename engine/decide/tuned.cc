#include "engine/decide/tuned.h"

#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "engine/base/file.h"
#include "engine/base/status_macros.h"
#include "engine/decide/rules.h"

namespace hachi {
namespace {

constexpr char kFormat[] = "hachi_decisions";
constexpr size_t kHead = 5;  // lines in front of decisions
constexpr size_t kMaxBytes = size_t{16} << 20;

std::string OnOff(bool on) { return on ? "on" : "off"; }

absl::StatusOr<bool> ParseOnOff(const std::string& text, const char* key) {
  for (const bool on : {true, false})
    if (text == absl::StrCat(key, "=", OnOff(on))) return on;
  return absl::DataLossError(absl::StrCat("'", text, "', expected ", key, "=on or ", key, "=off"));
}

// The lines that are no remarks: the head, then decisions.
absl::StatusOr<std::vector<std::string>> Lines(std::string_view text) {
  std::vector<std::string> lines;
  for (const auto& line : absl::StrSplit(std::string(text), '\n'))
    if (!line.empty() && line[0] != '#') lines.emplace_back(line);
  const std::string format = lines.empty() ? "" : lines[0];
  if (format != absl::StrCat(kFormat, " 1")) {
    const std::string message = absl::StrCat("begins with '", format, "', expected '", kFormat, " 1'");
    return absl::StartsWith(format, absl::StrCat(kFormat, " ")) ? absl::UnimplementedError(message)
                                                                : absl::DataLossError(message);
  }
  if (lines.size() < kHead)
    return absl::DataLossError(
        absl::StrCat(lines.size(), " lines, expected model, range, repairs and nodes"));
  return lines;
}

}  // namespace

std::string TunedDecisions::ToText() const {
  return absl::StrCat(remarks, kFormat, " 1\nmodel ", model_sha256, "\nrange ", std::string(NameOf(range)),
                      "\nrepairs equalization=", OnOff(repairs.equalization),
                      " bias_correction=", OnOff(repairs.bias_correction), "\nnodes ",
                      decisions.by_node().size(), "\n", decisions.ToText());
}

absl::StatusOr<TunedDecisions> TunedDecisions::Parse(std::string_view text) {
  ASSIGN_OR_RETURN(const std::vector<std::string> lines, Lines(text));
  TunedDecisions tuned;
  const std::vector<std::string> model = absl::StrSplit(lines[1], ' '), range = absl::StrSplit(lines[2], ' '),
                                 repairs = absl::StrSplit(lines[3], ' ');
  if (model.size() != 2 || model[0] != "model" || model[1].size() != 64)
    return absl::DataLossError(absl::StrCat("'", lines[1], "', expected 'model' and its SHA-256"));
  if (range.size() != 2 || range[0] != "range")
    return absl::DataLossError(absl::StrCat("'", lines[2], "', expected 'range' and a method"));
  if (repairs.size() != 3 || repairs[0] != "repairs")
    return absl::DataLossError(absl::StrCat("'", lines[3], "', expected 'repairs' and two switches"));
  tuned.model_sha256 = model[1];
  ASSIGN_OR_RETURN(tuned.range, ParseRangeMethod(range[1]));
  ASSIGN_OR_RETURN(tuned.repairs.equalization, ParseOnOff(repairs[1], "equalization"));
  ASSIGN_OR_RETURN(tuned.repairs.bias_correction, ParseOnOff(repairs[2], "bias_correction"));
  std::string rest;
  if (lines[4] != absl::StrCat("nodes ", lines.size() - kHead))
    return absl::DataLossError(absl::StrCat("'", lines[4], "', expected 'nodes ", lines.size() - kHead,
                                            "', which is how many follow"));
  for (size_t i = kHead; i < lines.size(); ++i) absl::StrAppend(&rest, lines[i], "\n");
  ASSIGN_OR_RETURN(tuned.decisions, Decisions::Parse(rest));
  for (const auto& [node, decision] : tuned.decisions.by_node())
    if (decision.origin != Origin::kTune)
      return absl::DataLossError(absl::StrCat("node '", node, "': origin ",
                                              std::string(NameOf(decision.origin)), ", expected tune"));
  return tuned;
}

absl::StatusOr<TunedDecisions> TunedDecisions::ReadFor(const std::filesystem::path& file,
                                                       std::string_view model_sha256) {
  const std::string what = absl::StrCat("decisions '", file.string(), "'");
  ASSIGN_OR_RETURN(const std::string text, ReadFile(file, kMaxBytes));
  auto tuned = Parse(text);
  if (!tuned.ok()) return WithContext(tuned.status(), what);
  if (tuned->model_sha256 != model_sha256)
    return absl::FailedPreconditionError(
        absl::StrCat(what, ": tuned for the model with SHA-256 ", tuned->model_sha256, ", expected ",
                     std::string(model_sha256), "; run hachi tune again, or take the file away"));
  return tuned;
}

void TakeAdvice(const Decisions& advice, const std::map<std::string, Precision>& pins, Decisions& given) {
  for (const auto& [node, decision] : advice.by_node()) {
    const Decision* other = given.Find(node);
    if (other != nullptr && (!IsAdvice(other->origin) || other->origin <= decision.origin)) continue;
    if (!PinOf(pins, node)) given.Set(node, decision);
  }
}

}  // namespace hachi
