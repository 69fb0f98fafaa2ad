#include "server/metrics/metrics.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

namespace hachi::server {
namespace {

using ::testing::ContainsRegex;
using ::testing::HasSubstr;
using ::testing::UnorderedElementsAre;

// "hachi_queue_rows gauge" of every metric on the page.
std::set<std::string> TypesOn(const std::string& page) {
  std::set<std::string> types;
  std::istringstream lines(page);
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with("# TYPE ")) types.insert(line.substr(7));
  }
  return types;
}

TEST(MetricsTest, PageHasEveryMetricWithItsUnit) {
  Metrics metrics;
  const auto model = metrics.ForModel("m", 1);
  model->SetState("ready", true);
  model->SetLayers("int8", 5);
  const auto shadow = metrics.ForShadow("m", 1);
  shadow->SetDrift("x", 0.1);
  shadow->SetUse("conv", 0, 1);
  EXPECT_THAT(
      TypesOn(metrics.Text()),
      UnorderedElementsAre(
          "hachi_build_info gauge", "hachi_cpu_budget gauge", "hachi_inflight_bytes gauge",
          "hachi_connections gauge", "hachi_log_lines_dropped_total counter",
          "hachi_answers_waiting_bytes gauge", "hachi_answers_cut_total counter",
          "hachi_certificate_expiry_timestamp_seconds gauge",
          "hachi_certificate_reload_failures_total counter", "hachi_connections_accepted_total counter",
          "hachi_accept_failures_total counter", "hachi_connections_refused_total counter",
          "hachi_connections_cut_total counter", "hachi_requests_total counter",
          "hachi_request_duration_seconds histogram", "hachi_queue_rows gauge",
          "hachi_queue_duration_seconds histogram", "hachi_batch_rows histogram",
          "hachi_batches_total counter", "hachi_batches_without_plan_total counter",
          "hachi_wide_batches_total counter", "hachi_plan_cache_bytes gauge",
          "hachi_plan_cache_evictions gauge", "hachi_plan_cache_hits_total counter",
          "hachi_plan_cache_misses_total counter", "hachi_plan_duration_seconds histogram",
          "hachi_idle_core_seconds_total counter", "hachi_gather_duration_seconds histogram",
          "hachi_compute_duration_seconds histogram", "hachi_scatter_duration_seconds histogram",
          "hachi_rows_refused_total counter", "hachi_expired_rows_computed_total counter",
          "hachi_model_state gauge", "hachi_model_load_seconds gauge", "hachi_model_weights_bytes gauge",
          "hachi_model_weights_copies gauge", "hachi_model_arena_bytes gauge",
          "hachi_model_vnni_mac_ratio gauge", "hachi_model_reference_steps gauge", "hachi_model_layers gauge",
          "hachi_recorded_rows_total counter", "hachi_record_failures_total counter",
          "hachi_shadow_rows_total counter", "hachi_shadow_places_total counter",
          "hachi_shadow_error_ratio histogram", "hachi_shadow_rows_dropped_total counter",
          "hachi_shadow_cpu_seconds_total counter", "hachi_shadow_drift_index gauge",
          "hachi_shadow_clipped_ratio gauge", "hachi_shadow_range_used_ratio gauge"));
}

TEST(MetricsTest, EachRefusalHasItsReason) {
  Metrics metrics;
  const auto model = metrics.ForModel("m", 2);
  for (size_t i = 0; i < kRefusals; ++i) {
    model->rows_refused_total(static_cast<Refusal>(i)).Increment(static_cast<double>(i + 1));
  }
  const std::string page = metrics.Text();
  int rows = 0;
  for (const std::string reason :
       {"queue_full", "inflight_bytes", "deadline", "cancelled", "draining", "too_large"}) {
    EXPECT_THAT(page, HasSubstr("hachi_rows_refused_total{model=\"m\",reason=\"" + reason +
                                "\",version=\"2\"} " + std::to_string(++rows) + "\n"));
  }
}

TEST(MetricsTest, RequestsAreCountedByCode) {
  Metrics metrics;
  const auto model = metrics.ForModel("m", 1);
  model->requests_total[absl::StatusCode::kOk].Increment();
  model->requests_total[absl::StatusCode::kResourceExhausted].Increment(2);
  const std::string page = metrics.Text();
  EXPECT_THAT(page, HasSubstr("hachi_requests_total{code=\"OK\",model=\"m\",version=\"1\"} 1\n"));
  EXPECT_THAT(page,
              HasSubstr("hachi_requests_total{code=\"RESOURCE_EXHAUSTED\",model=\"m\",version=\"1\"} 2\n"));
  EXPECT_THAT(page, HasSubstr("hachi_requests_total{code=\"INTERNAL\",model=\"m\",version=\"1\"} 0\n"));
}

TEST(MetricsTest, CodesThatNoRequestEndsWithCountAsUnknown) {
  Metrics metrics;
  const RequestCounters& counters = metrics.server().requests_without_model_total;
  counters[absl::StatusCode::kAborted].Increment();
  counters[static_cast<absl::StatusCode>(99)].Increment();
  counters[static_cast<absl::StatusCode>(-1)].Increment();
  EXPECT_EQ(counters[absl::StatusCode::kUnknown].Value(), 3);
  EXPECT_THAT(metrics.Text(),
              HasSubstr("hachi_requests_total{code=\"UNKNOWN\",model=\"\",version=\"\"} 3\n"));
}

TEST(MetricsTest, VersionsOfAModelCountApart) {
  Metrics metrics;
  const auto first = metrics.ForModel("m", 1), second = metrics.ForModel("m", 2);
  first->queue_rows.Set(3);
  EXPECT_THAT(metrics.Text(), HasSubstr("hachi_queue_rows{model=\"m\",version=\"1\"} 3\n"));
  EXPECT_THAT(metrics.Text(), HasSubstr("hachi_queue_rows{model=\"m\",version=\"2\"} 0\n"));
}

TEST(MetricsTest, DurationsAreObservedInSeconds) {
  Metrics metrics;
  const auto model = metrics.ForModel("m", 1);
  Observe(model->request_duration_seconds, absl::Milliseconds(250));
  const std::string page = metrics.Text();
  const std::string bucket = "hachi_request_duration_seconds_bucket{model=\"m\",version=\"1\",le=";
  EXPECT_THAT(page, HasSubstr(bucket + "\"0.2\"} 0\n"));
  EXPECT_THAT(page, HasSubstr(bucket + "\"0.5\"} 1\n"));
  EXPECT_THAT(page, HasSubstr("hachi_request_duration_seconds_sum{model=\"m\",version=\"1\"} 0.25\n"));
}

TEST(MetricsTest, BuildInfoNamesTheVersion) {
  EXPECT_THAT(Metrics().Text(),
              ContainsRegex("hachi_build_info\\{version=\"[0-9]+\\.[0-9]+\\.[0-9]+\"\\} 1\n"));
}

TEST(MetricsTest, ThreadsCountWhileThePageIsRead) {
  Metrics metrics;
  const auto model = metrics.ForModel("m", 1);
  std::vector<std::thread> threads;
  for (int i = 0; i < 2; ++i) {
    threads.emplace_back([&] {
      for (int j = 0; j < 500; ++j) {
        model->requests_total[absl::StatusCode::kOk].Increment();
        Observe(model->request_duration_seconds, absl::Milliseconds(1));
        model->SetState("ready", j % 2 == 0);
      }
    });
  }
  for (int i = 0; i < 20; ++i) EXPECT_THAT(metrics.Text(), HasSubstr("hachi_requests_total"));
  for (std::thread& thread : threads) thread.join();
  EXPECT_THAT(metrics.Text(),
              HasSubstr("hachi_requests_total{code=\"OK\",model=\"m\",version=\"1\"} 1000\n"));
}

}  // namespace
}  // namespace hachi::server
