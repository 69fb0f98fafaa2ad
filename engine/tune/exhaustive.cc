#include <algorithm>
#include <functional>
#include <numeric>

#include "engine/base/status_macros.h"
#include "engine/tune/strategy.h"

namespace hachi {
namespace {

// As many layers as there are trials for all of their combinations, a dozen at most.
size_t MostLayers(const TuneSearch& search) {
  constexpr size_t kMost = 12;
  size_t layers = 1;
  while (layers < kMost && (int64_t{2} << layers) <= search.max_trials()) ++layers;
  return std::min(layers, search.layers().size());
}

}  // namespace

absl::Status SearchExhaustively(TuneSearch& search) {
  ASSIGN_OR_RETURN(const std::vector<double> noise, NoiseOfEachLayer(search, search.plain()));
  std::vector<size_t> worst(noise.size());
  std::iota(worst.begin(), worst.end(), size_t{0});
  std::ranges::stable_sort(worst, std::greater(), [&](size_t layer) { return noise[layer]; });
  worst.resize(MostLayers(search));
  for (size_t combination = 0; combination < size_t{1} << worst.size(); ++combination) {
    std::vector<size_t> out;
    for (size_t i = 0; i < worst.size(); ++i)
      if ((combination >> i & 1) != 0) out.push_back(worst[i]);
    RETURN_IF_ERROR(search.Try(Without(search, search.plain(), out)).status());
  }
  return absl::OkStatus();
}

}  // namespace hachi
