#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "server/metrics/histogram_view.h"
#include "server/models/model_registry.h"

namespace hachi::server {

// What the status page says of a loaded model.
struct LoadedFacts {
  std::string precision, isa;
  double int8_mac_ratio = 0;  // of multiply-adds, 0 to 1
  double vnni_mac_ratio = 0;  // likewise
  std::map<std::string, int64_t> layers_by_precision;
  int64_t reference_steps = 0;
  int64_t weights_bytes = 0, arena_bytes = 0;
  std::string why_not_batched;  // empty: requests run together
};

// What it says of the accuracy guard of a load.
struct GuardFacts {
  std::string result;                // NameOf(GuardResult)
  std::string metric;                // that was compared
  double drop = 0, served_drop = 0;  // relative, of INT8 as it was asked for and of what is served
  std::vector<std::string> layers;   // that lose most
};

// What it says of one version of a model. Text in it may be anybody's: names and reasons come from files.
struct VersionFacts {
  std::string name;
  int64_t version = 1;
  std::string state;                 // NameOf(ModelState)
  std::string reason;                // why it is not ready, without paths of this machine; empty: it is
  std::optional<LoadedFacts> model;  // of a ready one
  std::optional<GuardFacts> guard;   // where golden samples lie beside it, once it is ready or failed
  double load_seconds = 0;
  std::map<std::string, int64_t> requests;  // by the code that they ended with
  HistogramView latency_seconds;            // of requests, from arrival to answer
  int64_t queue_rows = 0;
  std::map<int64_t, int64_t> batches;  // that ran, by their rows
  bool has_report = false;
};

struct StatusFacts {
  std::string version;  // of Hachi
  int64_t cpu_budget = 0;
  std::vector<VersionFacts> models;  // by name and version

  int64_t ready() const;
};

// As things stand. Looks at each version once: a load that ends meanwhile shows next time.
StatusFacts GatherStatus(const ModelRegistry& registry, const ServerMetrics& metrics);

}  // namespace hachi::server
