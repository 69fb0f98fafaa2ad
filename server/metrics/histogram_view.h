#pragma once

#include <prometheus/histogram.h>

#include <cstdint>
#include <vector>

namespace hachi::server {

// What a histogram has counted so far.
struct HistogramView {
  std::vector<double> bounds;    // upper ones, ascending; the last is infinity
  std::vector<uint64_t> counts;  // of each bucket alone
  uint64_t count = 0;            // of all
  double sum = 0;

  // The value that the share `q` (0 to 1) lies below, taken to lie evenly within a bucket; of the last bucket
  // its lower bound, of an empty histogram 0. As Prometheus' histogram_quantile has it.
  double Quantile(double q) const;
};

HistogramView ViewOf(const prometheus::Histogram& histogram);

}  // namespace hachi::server
