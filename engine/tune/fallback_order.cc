#include <algorithm>
#include <functional>
#include <numeric>

#include "engine/base/status_macros.h"
#include "engine/tune/strategy.h"

namespace hachi {

absl::Status FallBackInOrder(TuneSearch& search) {
  ASSIGN_OR_RETURN(const std::vector<double> noise, NoiseOfEachLayer(search, search.plain()));
  std::vector<size_t> order(noise.size()), out;
  std::iota(order.begin(), order.end(), size_t{0});
  std::ranges::stable_sort(order, std::greater(), [&](size_t layer) { return noise[layer]; });
  for (const size_t layer : order) {
    ASSIGN_OR_RETURN(const bool good, search.IsGood(Without(search, search.plain(), out)));
    if (good) return absl::OkStatus();
    out.push_back(layer);
  }
  return search.Try(Without(search, search.plain(), out)).status();
}

}  // namespace hachi
