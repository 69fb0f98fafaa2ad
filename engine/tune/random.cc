#include <array>

#include "engine/base/status_macros.h"
#include "engine/tune/strategy.h"

namespace hachi {
namespace {

constexpr std::array kRanges = {RangeMethod::kAuto, RangeMethod::kMinMax, RangeMethod::kPercentile,
                                RangeMethod::kEntropy, RangeMethod::kMse};

// In [0, 1), the same everywhere: the library's distributions differ between implementations.
double Uniform(std::mt19937_64& random) { return static_cast<double>(random() >> 11) / (uint64_t{1} << 53); }

}  // namespace

absl::Status SearchAtRandom(TuneSearch& search) {
  RETURN_IF_ERROR(search.Try(search.plain()).status());
  std::mt19937_64& random = search.random();
  // Small networks run out of candidates that are new.
  const int64_t draws = 10 * search.max_trials();
  for (int64_t i = 0; i < draws; ++i) {
    Candidate candidate = search.plain();
    candidate.range = kRanges[random() % kRanges.size()];
    candidate.repairs = {.equalization = random() % 4 != 0, .bias_correction = random() % 4 != 0};
    const double share = Uniform(random);
    std::vector<size_t> out;
    for (size_t layer = 0; layer < search.layers().size(); ++layer)
      if (Uniform(random) < share) out.push_back(layer);
    RETURN_IF_ERROR(search.Try(Without(search, candidate, out)).status());
  }
  return absl::OkStatus();
}

}  // namespace hachi
