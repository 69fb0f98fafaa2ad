#pragma once

#include <string>
#include <vector>

#include "absl/time/time.h"

namespace hachi {

// What a pass did to a graph.
struct PassReport {
  std::string pass;
  absl::Duration time;
  // Lines of the graph's text that went ("- ...") and came ("+ ..."), only where they are asked for.
  std::vector<std::string> changes;
};

}  // namespace hachi
