#pragma once

#include <prometheus/counter.h>
#include <prometheus/gauge.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>

#include <string>
#include <string_view>

// How this folder's structs find their metrics.
namespace hachi::server {

// Asking again for a family that is there gives the same one.
inline prometheus::Counter& CounterOf(prometheus::Registry& registry, const char* name, const char* help,
                                      const prometheus::Labels& labels) {
  return prometheus::BuildCounter().Name(name).Help(help).Register(registry).Add(labels);
}
inline prometheus::Gauge& GaugeOf(prometheus::Registry& registry, const char* name, const char* help,
                                  const prometheus::Labels& labels) {
  return prometheus::BuildGauge().Name(name).Help(help).Register(registry).Add(labels);
}
inline prometheus::Histogram& HistogramOf(prometheus::Registry& registry, const char* name, const char* help,
                                          const prometheus::Labels& labels,
                                          const prometheus::Histogram::BucketBoundaries& buckets) {
  return prometheus::BuildHistogram().Name(name).Help(help).Register(registry).Add(labels, buckets);
}

inline prometheus::Labels With(prometheus::Labels labels, const std::string& name, std::string_view value) {
  labels[name] = value;
  return labels;
}

inline prometheus::Labels LabelsOf(const std::string& model, const std::string& version) {
  return {{"model", model}, {"version", version}};
}

}  // namespace hachi::server
