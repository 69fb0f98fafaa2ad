#include "server/status/chart.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "server/status/html.h"

namespace hachi::server {

std::string BarChart(std::span<const Bar> bars, std::string_view label) {
  constexpr double kHeight = 40, kBarWidth = 10, kLowest = 0.6;  // what is there at all can be seen
  double highest = 0;
  for (const Bar& bar : bars) highest = std::max(highest, bar.value);
  std::string svg = absl::StrFormat(
      "<svg class=\"bars\" viewBox=\"0 0 %g %g\" preserveAspectRatio=\"none\" role=\"img\" "
      "aria-label=\"%s\">",
      kBarWidth * static_cast<double>(bars.size()), kHeight, Escaped(label));
  for (size_t i = 0; i < bars.size(); ++i) {
    const double height = bars[i].value > 0 ? std::max(kLowest, kHeight * bars[i].value / highest) : 0;
    absl::StrAppendFormat(&svg,
                          "<g><title>%s</title><rect x=\"%g\" y=\"%.2f\" width=\"%g\" height=\"%.2f\"/></g>",
                          Escaped(bars[i].title), kBarWidth * static_cast<double>(i) + 1, kHeight - height,
                          kBarWidth - 2, height);
  }
  return svg + "</svg>";
}

std::string Meter(double part, std::string_view label) {
  return absl::StrFormat(
      "<svg class=\"meter\" viewBox=\"0 0 100 1\" preserveAspectRatio=\"none\" role=\"img\" "
      "aria-label=\"%s\">"
      "<rect class=\"rest\" width=\"100\" height=\"1\"/><rect width=\"%.2f\" height=\"1\"/></svg>",
      Escaped(label), 100 * std::clamp(part, 0.0, 1.0));
}

}  // namespace hachi::server
