#include "engine/base/accuracy.h"

#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"

namespace hachi {

std::string ToText(const GuardReport& report, double max_drop) {
  std::string text = absl::StrFormat("INT8 loses %.2f %% (%s), expected at most %.2f %%", 100 * report.drop,
                                     NameOf(report.metric), 100 * max_drop);
  if (!report.layers.empty())
    absl::StrAppendFormat(&text, "; most in: '%s'", absl::StrJoin(report.layers, "', '"));
  return text;
}

}  // namespace hachi
