#include "engine/base/accuracy.h"

#include <algorithm>
#include <span>

#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"

namespace hachi {

std::string ToText(const GuardReport& report, double max_drop) {
  std::string text = absl::StrFormat("INT8 loses %.2f %% (%s), expected at most %.2f %%", 100 * report.drop,
                                     NameOf(report.metric), 100 * max_drop);
  constexpr size_t kShown = 10;
  const std::span shown = std::span(report.layers).first(std::min(kShown, report.layers.size()));
  if (!shown.empty())
    absl::StrAppendFormat(&text, "; most in %d %s: '%s'%s", report.layers.size(),
                          report.layers.size() == 1 ? "layer" : "layers", absl::StrJoin(shown, "', '"),
                          shown.size() < report.layers.size() ? ", ..." : "");
  return text;
}

}  // namespace hachi
