#include "server/commands/report_json.h"

#include <nlohmann/json.hpp>

#include "engine/base/repair_report.h"

namespace hachi::server {
namespace {

using nlohmann::json;

json JsonOf(const SpeedFacts& speed) {
  return {{"precision", speed.precision},
          {"load_seconds", speed.load_seconds},
          {"throughput_per_s", speed.throughput_per_s},
          {"latency_ms", {{"p50", speed.p50_seconds * 1e3}, {"p99", speed.p99_seconds * 1e3}}},
          {"weights_bytes", speed.weights_bytes}};
}

json NamesOf(const std::vector<TensorFacts>& tensors) {
  json names = json::array();
  for (const TensorFacts& tensor : tensors)
    names.push_back({{"name", tensor.name}, {"dtype", std::string(NameOf(tensor.dtype))}});
  return names;
}

json JsonOf(const StepProfile& step) {
  json offers = json::array();
  for (const KernelAnswer& answer : step.answers)
    offers.push_back(
        {{"kernel", answer.kernel}, {"takes", answer.refusal.empty()}, {"reason", answer.refusal}});
  return {{"step", step.name},
          {"operator", step.op},
          {"precision", step.precision},
          {"kernel", step.kernel},
          {"shape", step.shape},
          {"macs", step.macs},
          {"bytes", step.bytes},
          {"us", absl::ToDoubleMicroseconds(step.time)},
          {"reads", NamesOf(step.inputs)},
          {"makes", NamesOf(step.outputs)},
          {"offers", offers}};
}

json JsonOf(const StoredTensor& tensor) {
  return {{"name", tensor.name},
          {"reaches", {tensor.low, tensor.high}},
          {"seen", {tensor.min, tensor.max}},
          {"clipped", tensor.clipped},
          {"used", tensor.used},
          {"snr_db", tensor.snr_db},
          {"counts", tensor.counts}};
}

json JsonOf(const PassReport& pass) {
  return {
      {"pass", pass.pass}, {"ms", absl::ToDoubleMilliseconds(pass.time)}, {"changes", pass.changes.size()}};
}

json JsonOf(const RepairReport& repair) {
  return {{"repair", repair.repair}, {"name", repair.name}, {"gain_db", repair.gain}};
}

template <typename List>
json ListOf(const List& list) {
  json rows = json::array();
  for (const auto& one : list) rows.push_back(JsonOf(one));
  return rows;
}

}  // namespace

absl::StatusOr<std::string> ReportJson(const ReportFacts& facts) {
  const json tune =
      facts.tune.empty() ? json() : json::parse(facts.tune, nullptr, /*allow_exceptions=*/false);
  if (tune.is_discarded()) return absl::DataLossError("tune.json: is no JSON, expected what tune writes");
  const json accuracy = facts.accuracy ? json{{"rows", facts.accuracy->rows},
                                              {"agreement", facts.accuracy->agreement},
                                              {"error", facts.accuracy->error}}
                                       : json();
  const json report = {{"model", facts.model},
                       {"isa", facts.isa},
                       {"batch", facts.batch},
                       {"why_not_batched", facts.why_not_batched},
                       {"int8_mac_ratio", facts.int8_mac_ratio},
                       {"vnni_mac_ratio", facts.vnni_mac_ratio},
                       {"served", JsonOf(facts.served)},
                       {"fp32", JsonOf(facts.fp32)},
                       {"accuracy", accuracy},
                       {"steps", ListOf(facts.steps)},
                       {"tensors", ListOf(facts.tensors)},
                       {"passes", ListOf(facts.passes)},
                       {"repairs", ListOf(facts.repairs)},
                       {"tune", tune}};
  return report.dump(-1, ' ', /*ensure_ascii=*/false, json::error_handler_t::replace);
}

}  // namespace hachi::server
