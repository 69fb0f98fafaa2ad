#pragma once

#include <prometheus/counter.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>

#include <cstdint>
#include <string>

namespace hachi::server {

// What one version of a model reports of rows that run in FP32 beside it (server/shadow).
//
// Thread-safe.
struct ShadowMetrics {
 private:
  prometheus::Registry& registry_;
  const prometheus::Labels labels_;

 public:
  ShadowMetrics(prometheus::Registry& registry, const std::string& model, int64_t version);

  prometheus::Counter& rows_total;
  prometheus::Counter& agreeing_places_total;
  prometheus::Counter& differing_places_total;
  prometheus::Histogram& error_ratio;
  prometheus::Counter& rows_dropped_total;
  prometheus::Counter& rows_failed_total;
  prometheus::Counter& cpu_seconds_total;
  void SetDrift(const std::string& input, double index);
  void SetUse(const std::string& tensor, double clipped_ratio, double used_ratio);
};

}  // namespace hachi::server
