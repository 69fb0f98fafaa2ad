#pragma once

#include <prometheus/counter.h>
#include <prometheus/gauge.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "engine/base/accuracy.h"
#include "server/metrics/shadow_metrics.h"

namespace hachi::server {

// hachi_requests_total of one model version: a counter for each code that a request can end with.
//
// Thread-safe.
class RequestCounters {
 public:
  RequestCounters(prometheus::Registry& registry, const std::string& model, const std::string& version);

  // Codes that no request should end with are counted as UNKNOWN.
  prometheus::Counter& operator[](absl::StatusCode code) const;

  // Of the codes that some request ended with, by name: "OK".
  std::map<std::string, int64_t> Counts() const;

 private:
  std::array<prometheus::Counter*, 17> by_code_;
};

// Why rows were answered without being computed; NameOf gives the label.
enum class Refusal { kQueueFull, kInflightBytes, kDeadline, kCancelled, kDraining, kTooLarge, kNoPlan };
inline constexpr size_t kRefusals = 7;
std::string_view NameOf(Refusal refusal);

// Why a batch was closed when it was; NameOf gives the label.
enum class BatchReason { kFull, kWorkerFree, kDelayOver, kDeadlineNear };
inline constexpr size_t kBatchReasons = 4;
std::string_view NameOf(BatchReason reason);

// What one version of a model reports. Labels are resolved here, once; a request only adds.
//
// Thread-safe.
struct ModelMetrics {
 private:
  prometheus::Registry& registry_;
  const prometheus::Labels labels_;

 public:
  ModelMetrics(prometheus::Registry& registry, const std::string& model, int64_t version);

  // Of the call, counted where its answer is made (server/rpc).
  const RequestCounters requests_total;
  prometheus::Histogram& request_duration_seconds;

  // Of the queue (server/batching).
  prometheus::Gauge& queue_rows;
  prometheus::Histogram& queue_duration_seconds;
  prometheus::Counter& rows_refused_total(Refusal refusal) const {
    return *refused_[static_cast<size_t>(refusal)];
  }
  prometheus::Counter& batches_total(BatchReason reason) const {
    return *batches_[static_cast<size_t>(reason)];
  }

  prometheus::Counter& wide_batches_total;

  // Of the run (server/executor).
  prometheus::Histogram& batch_rows;
  prometheus::Histogram& gather_duration_seconds;
  prometheus::Histogram& compute_duration_seconds;
  prometheus::Histogram& scatter_duration_seconds;
  prometheus::Counter& expired_rows_computed_total;
  prometheus::Counter& batches_without_plan_total;

  // Of the recorded sample (server/record).
  prometheus::Counter& recorded_rows_total;
  prometheus::Counter& record_failures_total;

  // Of the plans for free shapes (server/batching and server/models).
  prometheus::Counter& plan_cache_hits_total;
  prometheus::Counter& plan_cache_misses_total;
  prometheus::Gauge& plan_cache_evictions;
  prometheus::Gauge& plan_cache_bytes;
  prometheus::Histogram& plan_duration_seconds;

  // Of the load (server/models).
  prometheus::Gauge& load_seconds;
  prometheus::Gauge& weights_bytes;
  prometheus::Gauge& weights_copies;
  prometheus::Gauge& arena_bytes;
  prometheus::Gauge& vnni_mac_ratio;
  prometheus::Gauge& reference_steps;
  void SetState(std::string_view state, bool is_current);
  void SetLayers(std::string_view precision, int64_t count);
  void SetGuard(const GuardReport& report);

 private:
  std::array<prometheus::Counter*, kRefusals> refused_;
  std::array<prometheus::Counter*, kBatchReasons> batches_;
};

// Why a connection was not taken, and why one that was is cut; NameOf gives the label.
enum class ConnectionRefusal { kLimit, kAddressLimit, kDescriptors, kAddressWasCut };
inline constexpr size_t kConnectionRefusals = 4;
std::string_view NameOf(ConnectionRefusal refusal);
enum class ConnectionCut { kMadeRoom, kBusy, kTakesBack, kUnasked };
inline constexpr size_t kConnectionCuts = 4;
std::string_view NameOf(ConnectionCut cut);

// What the connections to the gRPC address report.
//
// Thread-safe.
struct ConnectionMetrics {
  explicit ConnectionMetrics(prometheus::Registry& registry);

  prometheus::Gauge& open;
  prometheus::Counter& accepted_total;
  prometheus::Counter& accept_failures_total;
  prometheus::Counter& refused_total(ConnectionRefusal refusal) const {
    return *refused_[static_cast<size_t>(refusal)];
  }
  prometheus::Counter& cut_total(ConnectionCut cut) const { return *cut_[static_cast<size_t>(cut)]; }

 private:
  std::array<prometheus::Counter*, kConnectionRefusals> refused_;
  std::array<prometheus::Counter*, kConnectionCuts> cut_;
};

// What answers report that wait for their clients to take them.
//
// Thread-safe.
struct AnswerMetrics {
  explicit AnswerMetrics(prometheus::Registry& registry);

  prometheus::Gauge& waiting_bytes;
  prometheus::Counter& cut_total;
};

// What a certificate of the server's own reports; zero without one. `surface` is what it is shown at.
//
// Thread-safe.
struct CertificateMetrics {
  CertificateMetrics(prometheus::Registry& registry, const std::string& surface);

  prometheus::Gauge& expiry_seconds;
  prometheus::Counter& reload_failures_total;
};

// What the process reports beside its models.
//
// Thread-safe.
struct ServerMetrics {
  explicit ServerMetrics(prometheus::Registry& registry);

  prometheus::Gauge& cpu_budget;
  prometheus::Gauge& inflight_bytes;
  prometheus::Counter& idle_core_seconds_total;
  prometheus::Counter& log_lines_dropped_total;
  const RequestCounters requests_without_model_total;  // model and version are empty: none was found
  ConnectionMetrics connections;
  CertificateMetrics grpc_certificate, page_certificate;
  AnswerMetrics answers;
};

// Owns every metric. Outlives whoever holds one of its structs.
//
// Thread-safe.
class Metrics {
 public:
  Metrics();

  ServerMetrics& server() { return server_; }
  std::unique_ptr<ModelMetrics> ForModel(const std::string& model, int64_t version);
  std::unique_ptr<ShadowMetrics> ForShadow(const std::string& model, int64_t version);

  // The page as Prometheus reads it.
  std::string Text() const;

  const std::shared_ptr<prometheus::Registry>& registry() const { return registry_; }

 private:
  const std::shared_ptr<prometheus::Registry> registry_;
  ServerMetrics server_;
};

inline void Observe(prometheus::Histogram& histogram, absl::Duration duration) {
  histogram.Observe(absl::ToDoubleSeconds(duration));
}

}  // namespace hachi::server
