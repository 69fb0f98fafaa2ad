#pragma once

#include <span>
#include <string_view>

#include "absl/status/status.h"
#include "engine/tune/tune_search.h"

namespace hachi {

// A way to search: a file each, and a line in strategies().
struct Strategy {
  std::string_view name, description;

  // Tries candidates until it knows no better. Errors are the search's, CANCELLED among them.
  absl::Status (*run)(TuneSearch& search);
};

// The default one first.
std::span<const Strategy> Strategies();

absl::Status SearchGreedily(TuneSearch& search);
absl::Status SearchExhaustively(TuneSearch& search);
absl::Status SearchByBayes(TuneSearch& search);
absl::Status SearchAtRandom(TuneSearch& search);
absl::Status FallBackInOrder(TuneSearch& search);

}  // namespace hachi
