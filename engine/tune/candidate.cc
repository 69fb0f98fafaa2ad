#include "engine/tune/candidate.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"

namespace hachi {

std::vector<std::string> Candidate::ChangesFrom(const Candidate& other) const {
  const std::vector<std::string> own = absl::StrSplit(Key(), ' '), others = absl::StrSplit(other.Key(), ' ');
  std::vector<std::string> changes;
  for (const std::string& word : own)
    if (std::ranges::count(others, word) == 0) changes.push_back(word);
  return changes;
}

std::string Candidate::Key() const {
  const auto on_off = [](bool on) { return on ? "on" : "off"; };
  std::string key =
      absl::StrCat("range=", std::string(NameOf(range)), " equalization=", on_off(repairs.equalization),
                   " bias_correction=", on_off(repairs.bias_correction));
  for (const auto& [name, choice] : layers) {
    absl::StrAppend(&key, " ", name, "=", std::string(NameOf(choice.precision)));
    if (choice.precision == Precision::kInt8) absl::StrAppend(&key, "/", std::string(NameOf(choice.range)));
  }
  return key;
}

Decisions Candidate::ToDecisions(Origin origin) const {
  Decisions decisions;
  for (const auto& [name, choice] : layers)
    decisions.Set(name, {.precision = choice.precision, .range = choice.range, .origin = origin});
  return decisions;
}

LoadOptions Candidate::In(LoadOptions options, Origin origin) const {
  options.range_method = std::string(NameOf(range));
  options.repairs = repairs;
  absl::StrAppend(&options.decisions, ToDecisions(origin).ToText());
  return options;
}

}  // namespace hachi
