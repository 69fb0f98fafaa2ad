#include "server/metrics/shadow_metrics.h"

#include "server/metrics/families.h"

namespace hachi::server {
namespace {

const prometheus::Histogram::BucketBoundaries kErrors = {0.001, 0.002, 0.005, 0.01, 0.02,
                                                         0.05,  0.1,   0.2,   0.5,  1};

}  // namespace

ShadowMetrics::ShadowMetrics(prometheus::Registry& registry, const std::string& model, int64_t version)
    : registry_(registry),
      labels_(LabelsOf(model, std::to_string(version))),
      rows_total(CounterOf(registry, "hachi_shadow_rows_total",
                           "Sampled rows that were compared with their FP32 answer.", labels_)),
      agreeing_places_total(CounterOf(registry, "hachi_shadow_places_total",
                                      "Places of sampled answers (rows of scores along the last axis), by "
                                      "whether the largest score is where FP32 has it.",
                                      With(labels_, "result", "agree"))),
      differing_places_total(CounterOf(registry, "hachi_shadow_places_total",
                                       "Places of sampled answers (rows of scores along the last axis), by "
                                       "whether the largest score is where FP32 has it.",
                                       With(labels_, "result", "differ"))),
      error_ratio(HistogramOf(registry, "hachi_shadow_error_ratio",
                              "Size of a sampled answer's difference from FP32's, over the size of that.",
                              labels_, kErrors)),
      rows_dropped_total(CounterOf(registry, "hachi_shadow_rows_dropped_total",
                                   "Sampled rows that were not compared.",
                                   With(labels_, "reason", "no_time"))),
      rows_failed_total(CounterOf(registry, "hachi_shadow_rows_dropped_total",
                                  "Sampled rows that were not compared.", With(labels_, "reason", "failed"))),
      cpu_seconds_total(CounterOf(registry, "hachi_shadow_cpu_seconds_total",
                                  "CPU time of running sampled rows in FP32.", labels_)) {}

void ShadowMetrics::SetDrift(const std::string& input, double index) {
  GaugeOf(registry_, "hachi_shadow_drift_index",
          "Population stability index of an input's values in sampled rows against calibration's.",
          With(labels_, "input", input))
      .Set(index);
}

void ShadowMetrics::SetUse(const std::string& tensor, double clipped_ratio, double used_ratio) {
  const prometheus::Labels labels = With(labels_, "tensor", tensor);
  GaugeOf(registry_, "hachi_shadow_clipped_ratio",
          "Share of a tensor's values in sampled rows that lie beyond what its integers reach.", labels)
      .Set(clipped_ratio);
  GaugeOf(registry_, "hachi_shadow_range_used_ratio",
          "Share of what a tensor's integers reach that its values in sampled rows use.", labels)
      .Set(used_ratio);
}

}  // namespace hachi::server
