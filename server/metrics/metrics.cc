#include "server/metrics/metrics.h"

#include <prometheus/text_serializer.h>

#include <sstream>

#include "server/metrics/families.h"

namespace hachi::server {
namespace {

using prometheus::Counter;
using prometheus::Gauge;
using prometheus::Histogram;
using prometheus::Labels;
using prometheus::Registry;

// From a fast model's gather to a slow model's queue, two steps an octave where most requests end.
const Histogram::BucketBoundaries kSeconds = {0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.002, 0.003, 0.005,
                                              0.0075,  0.01,   0.015,   0.02,   0.03,  0.05,  0.075, 0.1,
                                              0.2,     0.5,    1,       2,      5,     10};
const Histogram::BucketBoundaries kRows = {1, 2, 4, 8, 16, 32, 64, 128, 256};

Histogram& DurationOf(Registry& registry, const char* name, const char* help, const Labels& labels) {
  return HistogramOf(registry, name, help, labels, kSeconds);
}

}  // namespace

std::string_view NameOf(Refusal refusal) {
  switch (refusal) {
    case Refusal::kQueueFull:
      return "queue_full";
    case Refusal::kInflightBytes:
      return "inflight_bytes";
    case Refusal::kDeadline:
      return "deadline";
    case Refusal::kCancelled:
      return "cancelled";
    case Refusal::kDraining:
      return "draining";
    case Refusal::kTooLarge:
      return "too_large";
    case Refusal::kNoPlan:
      return "no_plan";
  }
  return "";
}

std::string_view NameOf(BatchReason reason) {
  switch (reason) {
    case BatchReason::kFull:
      return "full";
    case BatchReason::kWorkerFree:
      return "worker_free";
    case BatchReason::kDelayOver:
      return "delay_over";
    case BatchReason::kDeadlineNear:
      return "deadline_near";
  }
  return "";
}

std::string_view NameOf(ConnectionRefusal refusal) {
  switch (refusal) {
    case ConnectionRefusal::kLimit:
      return "limit";
    case ConnectionRefusal::kAddressLimit:
      return "address_limit";
    case ConnectionRefusal::kDescriptors:
      return "descriptors";
    case ConnectionRefusal::kAddressWasCut:
      return "address_was_cut";
  }
  return "";
}

std::string_view NameOf(ConnectionCut cut) {
  switch (cut) {
    case ConnectionCut::kMadeRoom:
      return "made_room";
    case ConnectionCut::kBusy:
      return "busy";
    case ConnectionCut::kTakesBack:
      return "takes_back";
    case ConnectionCut::kUnasked:
      return "unasked";
  }
  return "";
}

RequestCounters::RequestCounters(Registry& registry, const std::string& model, const std::string& version) {
  const auto add = [&](absl::StatusCode code) -> Counter& {
    return CounterOf(registry, "hachi_requests_total", "Inference requests answered, by gRPC status code.",
                     With(LabelsOf(model, version), "code", absl::StatusCodeToString(code)));
  };
  by_code_.fill(&add(absl::StatusCode::kUnknown));
  for (absl::StatusCode code :
       {absl::StatusCode::kOk, absl::StatusCode::kCancelled, absl::StatusCode::kInvalidArgument,
        absl::StatusCode::kDeadlineExceeded, absl::StatusCode::kNotFound, absl::StatusCode::kUnauthenticated,
        absl::StatusCode::kPermissionDenied, absl::StatusCode::kResourceExhausted,
        absl::StatusCode::kUnimplemented, absl::StatusCode::kInternal, absl::StatusCode::kUnavailable}) {
    by_code_[static_cast<size_t>(code)] = &add(code);
  }
}

Counter& RequestCounters::operator[](absl::StatusCode code) const {
  const auto index = static_cast<size_t>(code);
  return *by_code_[index < by_code_.size() ? index : static_cast<size_t>(absl::StatusCode::kUnknown)];
}

std::map<std::string, int64_t> RequestCounters::Counts() const {
  std::map<std::string, int64_t> counts;
  for (size_t code = 0; code < by_code_.size(); ++code) {
    const auto status = static_cast<absl::StatusCode>(code);
    if (by_code_[code] == &(*this)[absl::StatusCode::kUnknown] && status != absl::StatusCode::kUnknown)
      continue;
    if (const auto count = static_cast<int64_t>(by_code_[code]->Value()); count > 0)
      counts[absl::StatusCodeToString(status)] = count;
  }
  return counts;
}

ModelMetrics::ModelMetrics(Registry& registry, const std::string& model, int64_t version)
    : registry_(registry),
      labels_(LabelsOf(model, std::to_string(version))),
      requests_total(registry, model, std::to_string(version)),
      request_duration_seconds(DurationOf(registry, "hachi_request_duration_seconds",
                                          "Time from a request's arrival to its answer.", labels_)),
      queue_rows(GaugeOf(registry, "hachi_queue_rows", "Rows that wait for a batch.", labels_)),
      queue_duration_seconds(DurationOf(registry, "hachi_queue_duration_seconds",
                                        "Time a computed request waited for its batch to run.", labels_)),
      wide_batches_total(CounterOf(registry, "hachi_wide_batches_total",
                                   "Batches that ran on all cores together, of those taken.", labels_)),
      batch_rows(HistogramOf(registry, "hachi_batch_rows", "Rows of each batch that ran.", labels_, kRows)),
      gather_duration_seconds(DurationOf(registry, "hachi_gather_duration_seconds",
                                         "Time to gather, convert and quantize a batch's inputs.", labels_)),
      compute_duration_seconds(DurationOf(registry, "hachi_compute_duration_seconds",
                                          "Time to compute a batch, after its gather.", labels_)),
      scatter_duration_seconds(DurationOf(registry, "hachi_scatter_duration_seconds",
                                          "Time to write a batch's outputs to its requests.", labels_)),
      expired_rows_computed_total(CounterOf(registry, "hachi_expired_rows_computed_total",
                                            "Rows computed although their deadline had passed when the run "
                                            "began; always 0.",
                                            labels_)),
      batches_without_plan_total(CounterOf(registry, "hachi_batches_without_plan_total",
                                           "Batches that a worker took before they had a plan; always 0.",
                                           labels_)),
      recorded_rows_total(CounterOf(registry, "hachi_recorded_rows_total",
                                    "Rows of requests written to the model's recorded sample.", labels_)),
      record_failures_total(CounterOf(registry, "hachi_record_failures_total",
                                      "Rows of the recorded sample that could not be written.", labels_)),
      plan_cache_hits_total(CounterOf(registry, "hachi_plan_cache_hits_total",
                                      "Requests with free shapes that found a plan.", labels_)),
      plan_cache_misses_total(CounterOf(registry, "hachi_plan_cache_misses_total",
                                        "Requests with free shapes that waited for a plan to be made.",
                                        labels_)),
      plan_cache_evictions(GaugeOf(registry, "hachi_plan_cache_evictions",
                                   "Sets of plans that have left to make room for others.", labels_)),
      plan_cache_bytes(GaugeOf(registry, "hachi_plan_cache_bytes",
                               "Memory that plans for free shapes may take.", labels_)),
      plan_duration_seconds(
          DurationOf(registry, "hachi_plan_duration_seconds", "Time to make plans for a shape.", labels_)),
      load_seconds(
          GaugeOf(registry, "hachi_model_load_seconds", "Time the last load took, failed or not.", labels_)),
      weights_bytes(
          GaugeOf(registry, "hachi_model_weights_bytes", "Packed weights in memory, all copies.", labels_)),
      weights_copies(GaugeOf(registry, "hachi_model_weights_copies",
                             "Packed copies of weights beyond one a weight.", labels_)),
      arena_bytes(GaugeOf(registry, "hachi_model_arena_bytes",
                          "Working memory of the largest plan; each worker has its own.", labels_)),
      vnni_mac_ratio(GaugeOf(registry, "hachi_model_vnni_mac_ratio",
                             "Share of multiply-adds in steps on a VNNI kernel, 0 to 1.", labels_)),
      reference_steps(GaugeOf(registry, "hachi_model_reference_steps",
                              "Steps that run plain loops, since no kernel takes them.", labels_)) {
  for (size_t i = 0; i < kRefusals; ++i) {
    refused_[i] = &CounterOf(registry, "hachi_rows_refused_total",
                             "Rows answered with an error instead of being computed, by reason.",
                             With(labels_, "reason", NameOf(static_cast<Refusal>(i))));
  }
  for (size_t i = 0; i < kBatchReasons; ++i) {
    batches_[i] =
        &CounterOf(registry, "hachi_batches_total", "Batches taken by a worker, by what closed them.",
                   With(labels_, "reason", NameOf(static_cast<BatchReason>(i))));
  }
}

void ModelMetrics::SetState(std::string_view state, bool is_current) {
  GaugeOf(registry_, "hachi_model_state", "1 for the state that the model version is in, 0 for the others.",
          With(labels_, "state", state))
      .Set(is_current);
}

void ModelMetrics::SetLayers(std::string_view precision, int64_t count) {
  GaugeOf(registry_, "hachi_model_layers", "Steps of the plan, by the precision they compute in.",
          With(labels_, "precision", precision))
      .Set(static_cast<double>(count));
}

void ModelMetrics::SetGuard(const GuardReport& report) {
  for (const auto& [result, name] : kGuardResultNames)
    GaugeOf(registry_, "hachi_model_guard_result",
            "1 for what the accuracy guard of the last load found, 0 for the others.",
            With(labels_, "result", name))
        .Set(result == report.result);
  GaugeOf(registry_, "hachi_model_guard_drop_ratio",
          "Loss of INT8 as it was asked for, against FP32 on golden samples.", labels_)
      .Set(report.drop);
  GaugeOf(registry_, "hachi_model_guard_layers", "Layers that lost most where INT8 lost more than it may.",
          labels_)
      .Set(static_cast<double>(report.layers.size()));
}

ConnectionMetrics::ConnectionMetrics(Registry& registry)
    : open(GaugeOf(registry, "hachi_connections", "Connections to the gRPC address.", {})),
      accepted_total(
          CounterOf(registry, "hachi_connections_accepted_total", "Connections that were taken.", {})),
      accept_failures_total(CounterOf(registry, "hachi_accept_failures_total",
                                      "Times a connection could not be accepted, for want of descriptors or "
                                      "memory.",
                                      {})) {
  for (size_t i = 0; i < kConnectionRefusals; ++i) {
    refused_[i] = &CounterOf(registry, "hachi_connections_refused_total",
                             "Connections closed as soon as they had come, by reason.",
                             {{"reason", std::string(NameOf(static_cast<ConnectionRefusal>(i)))}});
  }
  for (size_t i = 0; i < kConnectionCuts; ++i) {
    cut_[i] = &CounterOf(registry, "hachi_connections_cut_total",
                         "Connections that were taken and cut later, by reason.",
                         {{"reason", std::string(NameOf(static_cast<ConnectionCut>(i)))}});
  }
}

AnswerMetrics::AnswerMetrics(Registry& registry)
    : waiting_bytes(GaugeOf(registry, "hachi_answers_waiting_bytes",
                            "Answers that their clients have not taken yet.", {})),
      cut_total(CounterOf(registry, "hachi_answers_cut_total",
                          "Answers cancelled because their clients did not take them.", {})) {}

CertificateMetrics::CertificateMetrics(Registry& registry, const std::string& surface)
    : expiry_seconds(GaugeOf(registry, "hachi_certificate_expiry_timestamp_seconds",
                             "When the server's certificate expires, Unix time; 0: it has none.",
                             {{"surface", surface}})),
      reload_failures_total(CounterOf(registry, "hachi_certificate_reload_failures_total",
                                      "Changed certificate files that were not taken.",
                                      {{"surface", surface}})) {}

ServerMetrics::ServerMetrics(Registry& registry)
    : cpu_budget(GaugeOf(registry, "hachi_cpu_budget", "Cores that all workers together may use.", {})),
      inflight_bytes(
          GaugeOf(registry, "hachi_inflight_bytes", "Memory of requests between admission and answer.", {})),
      idle_core_seconds_total(CounterOf(registry, "hachi_idle_core_seconds_total",
                                        "Core time in which workers were idle while rows waited.", {})),
      log_lines_dropped_total(CounterOf(registry, "hachi_log_lines_dropped_total",
                                        "Log lines that whoever reads standard error was too slow for.", {})),
      requests_without_model_total(registry, "", ""),
      connections(registry),
      grpc_certificate(registry, "grpc"),
      page_certificate(registry, "metrics"),
      answers(registry) {
  GaugeOf(registry, "hachi_build_info", "1, labelled with the version that runs.",
          {{"version", HACHI_VERSION}})
      .Set(1);
}

Metrics::Metrics() : registry_(std::make_shared<Registry>()), server_(*registry_) {}

std::unique_ptr<ModelMetrics> Metrics::ForModel(const std::string& model, int64_t version) {
  return std::make_unique<ModelMetrics>(*registry_, model, version);
}

std::unique_ptr<ShadowMetrics> Metrics::ForShadow(const std::string& model, int64_t version) {
  return std::make_unique<ShadowMetrics>(*registry_, model, version);
}

std::string Metrics::Text() const {
  std::ostringstream page;
  prometheus::TextSerializer().Serialize(page, registry_->Collect());
  return page.str();
}

}  // namespace hachi::server
