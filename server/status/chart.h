#pragma once

#include <span>
#include <string>
#include <string_view>

namespace hachi::server {

struct Bar {
  std::string title;  // shown when pointed at
  double value = 0;   // not negative
};

// Bars side by side as SVG, the highest as high as the picture. `label` says what it is to who does not see
// it.
std::string BarChart(std::span<const Bar> bars, std::string_view label);

// A part of one, 0 to 1, as a horizontal SVG bar.
std::string Meter(double part, std::string_view label);

}  // namespace hachi::server
