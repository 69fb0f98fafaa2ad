#include "server/status/status_json.h"

#include <nlohmann/json.hpp>

#include "server/status/report_file.h"

namespace hachi::server {
namespace {

using nlohmann::json;

json JsonOf(const LoadedFacts& model) {
  return {{"precision", model.precision},
          {"isa", model.isa},
          {"int8_mac_ratio", model.int8_mac_ratio},
          {"vnni_mac_ratio", model.vnni_mac_ratio},
          {"layers", model.layers_by_precision},
          {"reference_steps", model.reference_steps},
          {"weights_bytes", model.weights_bytes},
          {"arena_bytes", model.arena_bytes},
          {"batched", model.why_not_batched.empty()},
          {"why_not_batched", model.why_not_batched}};
}

json JsonOf(const GuardFacts& guard) {
  return {{"result", guard.result},
          {"metric", guard.metric},
          {"drop", guard.drop},
          {"served_drop", guard.served_drop},
          {"layers", guard.layers}};
}

json JsonOf(const VersionFacts& facts) {
  json batches = json::object();
  for (const auto& [rows, count] : facts.batches) batches[std::to_string(rows)] = count;
  const HistogramView& latency = facts.latency_seconds;
  json version = {{"name", facts.name},
                  {"version", facts.version},
                  {"state", facts.state},
                  {"reason", facts.reason},
                  {"load_seconds", facts.load_seconds},
                  {"requests", facts.requests},
                  {"latency_seconds", {{"count", latency.count}, {"sum", latency.sum}}},
                  {"queue_rows", facts.queue_rows},
                  {"batches", batches},
                  {"report", facts.has_report ? json(ReportPath(facts.name, facts.version)) : json()},
                  {"guard", facts.guard ? JsonOf(*facts.guard) : json()},
                  {"model", facts.model ? JsonOf(*facts.model) : json()}};
  for (const auto& [name, q] : {std::pair("p50", 0.5), std::pair("p90", 0.9), std::pair("p99", 0.99)})
    version["latency_seconds"][name] = latency.count > 0 ? json(latency.Quantile(q)) : json();
  return version;
}

}  // namespace

std::string StatusJson(const StatusFacts& facts) {
  json models = json::array();
  for (const VersionFacts& version : facts.models) models.push_back(JsonOf(version));
  const json status = {{"version", facts.version},
                       {"cpu_budget", facts.cpu_budget},
                       {"ready", facts.ready() == static_cast<int64_t>(facts.models.size())},
                       {"models", models}};
  return status.dump(2, ' ', /*ensure_ascii=*/false, json::error_handler_t::replace) + "\n";
}

}  // namespace hachi::server
