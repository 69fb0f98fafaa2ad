#include "engine/quant/range.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace hachi {
namespace {

constexpr double kClippedShare = 1e-4;   // by kPercentile
constexpr double kNearlyEqual = 1.1;     // errors within this factor: the simpler s8 grid wins
constexpr double kNegligible = 1e-30;    // scales below it are for tensors of zeros: 1 then
constexpr int kEntropyCandidates = 128;  // a guess: 1 % apart over most of the range
constexpr int kMseSteps = 80;            // candidates of a search, each kMseShrink times the last: to 1/250
constexpr double kMseShrink = 0.933;

constexpr std::array kMethods = {RangeMethod::kMinMax, RangeMethod::kPercentile, RangeMethod::kEntropy,
                                 RangeMethod::kMse};

// A range of real numbers that holds zero.
struct Interval {
  double low = 0, high = 0;
};

// The integers of a grid and the real numbers that they stand for.
struct Grid {
  DType dtype;
  float scale;
  int zero_point;

  int lowest() const { return dtype == DType::kU8 ? 0 : -128; }
  double At(int q) const { return static_cast<double>(q - zero_point) * static_cast<double>(scale); }
};

// Reaches over the whole interval, but for what rounding the zero point moves.
Grid U8Grid(Interval range) {
  const double scale = (range.high - range.low) / 255;
  if (!(scale > kNegligible)) return {DType::kU8, 1.0f, 0};
  return {DType::kU8, static_cast<float>(scale), static_cast<int>(std::nearbyint(-range.low / scale))};
}

Grid S8Grid(Interval range) {
  const double scale = std::max(range.high / 127, -range.low / 128);
  return {DType::kS8, scale > kNegligible ? static_cast<float>(scale) : 1.0f, 0};
}

// The squared error of grids over a histogram, in a few hundred operations each: sums over bins are kept so
// that the error of all values that round to one integer is a difference of sums.
class ErrorMeter {
 public:
  explicit ErrorMeter(const TensorStats& stats)
      : first_(stats.histogram().first()), width_(stats.histogram().width()), sums_(1) {
    const std::vector<uint64_t>& counts = stats.histogram().counts();
    for (size_t i = 0; i < counts.size(); ++i) {
      const int bin = first_ + static_cast<int>(i);
      // The middle stands for all of a bin, but zero for bin 0, where it is by far the most frequent value.
      const double middle = bin == 0 ? 0 : (bin + 0.5) * width_;
      const double x = std::clamp(middle, static_cast<double>(stats.min()), static_cast<double>(stats.max()));
      const auto n = static_cast<double>(counts[i]);
      const Sums& before = sums_.back();
      sums_.push_back({before.n + n, before.x + n * x, before.xx + n * x * x});
    }
  }

  double Mse(const Grid& grid) const {
    double error = 0;
    size_t from = 0;
    for (int q = grid.lowest(); q <= grid.lowest() + 255; ++q) {
      const size_t to = q == grid.lowest() + 255
                            ? sums_.size() - 1
                            : std::max(from, FirstBinFrom((grid.At(q) + grid.At(q + 1)) / 2));
      if (to == from) continue;
      const double real = grid.At(q);
      const Sums &a = sums_[from], &b = sums_[to];
      error += (b.xx - a.xx) - 2 * real * (b.x - a.x) + real * real * (b.n - a.n);
      from = to;
    }
    return std::max(error, 0.0) / sums_.back().n;
  }

 private:
  struct Sums {
    double n = 0, x = 0, xx = 0;
  };

  // Index of the first bin whose middle is not below `x`.
  size_t FirstBinFrom(double x) const {
    double bin = std::ceil(x / width_ - 0.5);
    if (x > 0) bin = std::max(bin, 1.0);
    return static_cast<size_t>(std::clamp(bin - first_, 0.0, static_cast<double>(sums_.size() - 1)));
  }

  const int first_;
  const double width_;
  std::vector<Sums> sums_;  // [i]: over the bins before i
};

Interval MinMax(const TensorStats& stats) {
  return {std::min<double>(stats.min(), 0), std::max<double>(stats.max(), 0)};
}

Interval Percentile(const TensorStats& stats) {
  const Interval all = MinMax(stats);
  const Histogram& histogram = stats.histogram();
  const std::vector<uint64_t>& counts = histogram.counts();
  const bool both_sides = all.low < 0 && all.high > 0;
  const auto clipped =
      static_cast<uint64_t>(static_cast<double>(stats.count()) * kClippedShare / (both_sides ? 2 : 1));
  // Bins to leave away at one end: as many as hold no more than `clipped` values together.
  const auto outside = [&](auto begin, auto end) {
    uint64_t sum = 0;
    int bins = 0;
    for (auto it = begin; it != end && (sum += *it) <= clipped; ++it) ++bins;
    return bins;
  };
  const int first = histogram.first();
  const int end = first + static_cast<int>(counts.size());
  const double low = (first + outside(counts.begin(), counts.end())) * histogram.width();
  const double high = (end - outside(counts.rbegin(), counts.rend())) * histogram.width();
  const Interval range = {std::clamp(low, all.low, 0.0), std::clamp(high, 0.0, all.high)};
  return range.low < range.high ? range : all;
}

// Thresholds on |x|. For each, the bins below it are spread over as many cells as there are integers, each
// cell's values evenly over its bins that are not empty, and the divergence of that from what was seen, its
// outliers put into the last bin, is measured. The bin of zero is left out: zero is exact in every grid, and
// would hide the rest after a ReLU.
Interval Entropy(const TensorStats& stats) {
  const Interval all = MinMax(stats);
  const Histogram& histogram = stats.histogram();
  std::vector<double> seen;
  for (size_t i = 0; i < histogram.counts().size(); ++i) {
    const int bin = histogram.first() + static_cast<int>(i);
    const auto folded = static_cast<size_t>(bin < 0 ? -1 - bin : bin);
    if (folded >= seen.size()) seen.resize(folded + 1);
    if (folded > 0) seen[folded] += static_cast<double>(histogram.counts()[i]);
  }
  const size_t bins = seen.size(), levels = all.low < 0 ? 128 : 256;
  if (bins <= levels) return all;

  struct Sums {
    double n = 0, nonempty = 0, n_log_n = 0;
  };
  const auto n_log_n = [](double n) { return n > 0 ? n * std::log(n) : 0; };
  std::vector<Sums> sums(1);
  for (const double n : seen)
    sums.push_back({sums.back().n + n, sums.back().nonempty + (n > 0), sums.back().n_log_n + n_log_n(n)});
  const double total = sums.back().n;
  if (total == 0) return all;

  const auto divergence = [&](size_t end) {
    const double outliers = total - sums[end].n, inside = sums[end].n;
    if (inside == 0) return std::numeric_limits<double>::infinity();
    double cross = 0;  // sum of p × log(q), both in counts
    for (size_t cell = 0; cell < levels; ++cell) {
      const Sums &a = sums[cell * end / levels], &b = sums[(cell + 1) * end / levels];
      const bool last = cell + 1 == levels;
      const double p = b.n - a.n + (last ? outliers : 0);
      if (p == 0) continue;
      // Outliers make the last bin one that is not empty; half a value there keeps the logarithm finite.
      const double nonempty = b.nonempty - a.nonempty + (last && outliers > 0 && seen[end - 1] == 0);
      cross += p * std::log(std::max(b.n - a.n, 0.5) / nonempty);
    }
    const double own = sums[end - 1].n_log_n + n_log_n(seen[end - 1] + outliers);
    return (own - cross) / total - std::log(total) + std::log(inside);
  };
  size_t best = bins;
  double least = divergence(bins);
  const size_t step = std::max<size_t>(1, (bins - levels) / kEntropyCandidates);
  for (size_t end = bins - step; end >= levels; end -= step) {
    if (const double d = divergence(end); d < least) {
      least = d;
      best = end;
    }
  }
  if (best == bins) return all;
  const double threshold = static_cast<double>(best) * histogram.width();
  return {std::max(all.low, -threshold), std::min(all.high, threshold)};
}

// The factor from (0, 1] with the least error: a search in equal ratios, then a finer one around its best.
template <typename Error>
double BestFactor(const Error& error) {
  double best = 1, least = error(1.0);
  const auto search = [&](double from, double shrink, int steps) {
    for (double factor = from; steps > 0; --steps, factor *= shrink) {
      if (const double e = error(factor); e < least) {
        least = e;
        best = factor;
      }
    }
  };
  search(kMseShrink, kMseShrink, kMseSteps);
  search(std::min(1.0, best / kMseShrink), std::pow(kMseShrink, 0.125), 16);
  return best;
}

// The range with the least error for grids that `make` makes. Each side shrinks on its own, in turn.
template <typename MakeGrid>
Interval LeastError(const TensorStats& stats, const ErrorMeter& meter, const MakeGrid& make) {
  Interval range = MinMax(stats);
  for (double Interval::*side : {&Interval::high, &Interval::low, &Interval::high}) {
    if (range.*side == 0) continue;
    const auto with = [&](double factor) {
      Interval shrunk = range;
      shrunk.*side *= factor;
      return shrunk;
    };
    range = with(BestFactor([&](double factor) { return meter.Mse(make(with(factor))); }));
  }
  return range;
}

// How a range is stored in which all values are equally likely: an error is then anywhere in a step.
ActivationQuant QuantOfRange(Interval range) {
  const auto with = [](const Grid& grid) {
    const auto step = static_cast<double>(grid.scale);
    return ActivationQuant{grid.dtype, QuantParams::PerTensor(grid.scale, grid.zero_point), step * step / 12,
                           RangeMethod::kMinMax};
  };
  const ActivationQuant u8 = with(U8Grid(range)), s8 = with(S8Grid(range));
  return range.low < 0 && s8.mse <= u8.mse * kNearlyEqual ? s8 : u8;
}

}  // namespace

std::string_view NameOf(RangeMethod method) {
  switch (method) {
    case RangeMethod::kAuto:
      return "auto";
    case RangeMethod::kMinMax:
      return "min_max";
    case RangeMethod::kPercentile:
      return "percentile";
    case RangeMethod::kEntropy:
      return "entropy";
    case RangeMethod::kMse:
      return "mse";
  }
  return "auto";
}

absl::StatusOr<RangeMethod> ParseRangeMethod(std::string_view name) {
  if (name == NameOf(RangeMethod::kAuto)) return RangeMethod::kAuto;
  for (const RangeMethod method : kMethods)
    if (name == NameOf(method)) return method;
  return absl::InvalidArgumentError(absl::StrCat("range method: '", std::string(name),
                                                 "', expected auto, min_max, percentile, entropy or mse"));
}

absl::StatusOr<ActivationQuant> ChooseActivationQuant(const TensorStats& stats, RangeMethod method) {
  if (!stats.quantizable())
    return absl::InvalidArgumentError(absl::StrCat("calibration saw ", stats.count(), " values, ",
                                                   stats.nonfinite(),
                                                   " of them not finite, expected some, and all finite"));
  if (stats.is_range()) return QuantOfRange(MinMax(stats));
  const ErrorMeter meter(stats);
  const bool negative = stats.min() < 0;
  ActivationQuant u8 = {.mse = std::numeric_limits<double>::infinity()}, s8 = u8;
  const auto offer = [&](ActivationQuant& best, const Grid& grid, RangeMethod from) {
    const double mse = meter.Mse(grid);
    if (mse < best.mse) best = {grid.dtype, QuantParams::PerTensor(grid.scale, grid.zero_point), mse, from};
  };
  for (const RangeMethod from : kMethods) {
    if (method != RangeMethod::kAuto && method != from) continue;
    if (from == RangeMethod::kMse) {
      offer(u8, U8Grid(LeastError(stats, meter, U8Grid)), from);
      if (negative) offer(s8, S8Grid(LeastError(stats, meter, S8Grid)), from);
      continue;
    }
    const Interval range = from == RangeMethod::kMinMax       ? MinMax(stats)
                           : from == RangeMethod::kPercentile ? Percentile(stats)
                                                              : Entropy(stats);
    offer(u8, U8Grid(range), from);
    if (negative) offer(s8, S8Grid(range), from);
  }
  return negative && s8.mse <= u8.mse * kNearlyEqual ? s8 : u8;
}

}  // namespace hachi
