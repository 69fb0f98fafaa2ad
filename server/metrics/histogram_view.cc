#include "server/metrics/histogram_view.h"

namespace hachi::server {

double HistogramView::Quantile(double q) const {
  const double rank = q * static_cast<double>(count);
  double below = 0;
  for (size_t i = 0; i < counts.size(); ++i) {
    const auto here = static_cast<double>(counts[i]);
    if (here > 0 && below + here >= rank) {
      const double low = i == 0 ? 0 : bounds[i - 1];
      return i + 1 == counts.size() ? low : low + (bounds[i] - low) * (rank - below) / here;
    }
    below += here;
  }
  return 0;
}

HistogramView ViewOf(const prometheus::Histogram& histogram) {
  HistogramView view;
  const prometheus::ClientMetric::Histogram counted = histogram.Collect().histogram;
  uint64_t below = 0;
  for (const auto& bucket : counted.bucket) {
    view.bounds.push_back(bucket.upper_bound);
    view.counts.push_back(bucket.cumulative_count - below);
    below = bucket.cumulative_count;
  }
  view.count = below;
  view.sum = counted.sample_sum;
  return view;
}

}  // namespace hachi::server
