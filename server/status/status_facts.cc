#include "server/status/status_facts.h"

#include <algorithm>

#include "server/status/report_file.h"

namespace hachi::server {
namespace {

// A message quotes what a file holds: enough to understand it, not all of it.
constexpr size_t kMaxReasonBytes = 2048;

LoadedFacts FactsOf(const Model& model) {
  const ModelInfo& info = model.info();
  return {.precision = std::string(NameOf(info.precision)),
          .isa = info.isa,
          .int8_mac_ratio = info.int8_mac_ratio,
          .vnni_mac_ratio = info.vnni_mac_ratio,
          .layers_by_precision = info.layers_by_precision,
          .reference_steps = static_cast<int64_t>(info.reference_steps.size()),
          .weights_bytes = info.weights_bytes,
          .arena_bytes = info.arena_bytes,
          .why_not_batched = model.signature().why_not_batched};
}

GuardFacts FactsOf(const GuardReport& report) {
  return {.result = std::string(NameOf(report.result)),
          .metric = std::string(NameOf(report.metric)),
          .drop = report.drop,
          .served_drop = report.served_drop,
          .layers = report.layers};
}

VersionFacts FactsOf(const ModelVersion& version) {
  const ModelState state = version.state();
  VersionFacts facts{.name = version.name(),
                     .version = version.version(),
                     .state = std::string(NameOf(state)),
                     .load_seconds = version.metrics().load_seconds.Value(),
                     .requests = version.metrics().requests_total.Counts(),
                     .latency_seconds = ViewOf(version.metrics().request_duration_seconds),
                     .queue_rows = static_cast<int64_t>(version.metrics().queue_rows.Value()),
                     .has_report = HasReport(version)};
  if (state == ModelState::kReady) facts.model = FactsOf(version.model());
  if (state == ModelState::kFailed)
    facts.reason = std::string(version.ReadyStatus().message().substr(0, kMaxReasonBytes));
  const bool is_settled = state == ModelState::kReady || state == ModelState::kFailed;
  if (is_settled && version.guard()) facts.guard = FactsOf(*version.guard());
  for (const auto& [rows, batches] : version.statistics().Snapshot().by_batch_rows)
    facts.batches[rows] = static_cast<int64_t>(batches.compute_infer.count);
  return facts;
}

}  // namespace

int64_t StatusFacts::ready() const {
  return std::ranges::count_if(models, [](const VersionFacts& facts) { return facts.model.has_value(); });
}

StatusFacts GatherStatus(const ModelRegistry& registry, const ServerMetrics& metrics) {
  StatusFacts facts{.version = HACHI_VERSION, .cpu_budget = static_cast<int64_t>(metrics.cpu_budget.Value())};
  for (const auto& version : registry.AllVersions()) facts.models.push_back(FactsOf(*version));
  return facts;
}

}  // namespace hachi::server
