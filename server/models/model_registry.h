#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "config/model_config.h"
#include "engine/base/clock.h"
#include "engine/engine.h"
#include "server/metrics/metrics.h"
#include "server/models/model_version.h"
#include "server/models/trial.h"

namespace hachi::server {

// Every configured model in all its versions; loads them and hands out those that are READY.
//
// Owned by Daemon; outlived by Metrics. Nothing loads before Start (or LoadAll); until then, and while they
// load, models are known but UNAVAILABLE.
//
// Thread-safe.
class ModelRegistry {
 public:
  using Loader = std::function<absl::StatusOr<std::unique_ptr<Model>>(const LoadOptions&)>;

  struct Options {
    std::vector<ModelConfig> models;  // names are unique
    Loader loader;                    // hachi::LoadModel; tests have their own
    Trial* trial = nullptr;           // comes before the loader; null: there is none. Outlives the registry
    int threads = 1;                  // of each worker's team
    int wide_threads = 0;             // as LoadOptions

    // Who is to look at the rows that a version answers; empty: nobody. It has loaded but for them, as
    // `model`; an error fails the load.
    std::function<absl::StatusOr<std::vector<std::unique_ptr<RowsObserver>>>(const ModelVersion& version,
                                                                             const Model& model)>
        observers;
    Metrics* metrics = nullptr;  // required
    const Clock* clock = &Clock::Real();

    // Called after every change of a version's state, on the loading thread and without locks; may be empty.
    std::function<void(const std::shared_ptr<const ModelVersion>&)> on_change;
  };

  explicit ModelRegistry(Options options);

  // Waits for the load in progress, but ends a trial; what has not begun stays kWaiting.
  ~ModelRegistry();

  // Loads all versions one after the other: Start on the loader thread, LoadAll on the caller's. Call one of
  // them, once.
  void Start();
  void LoadAll();

  // The given version, or without one the highest that is READY. NOT_FOUND: no such model or version in the
  // configuration. UNAVAILABLE: there is, but it is not READY; the message says why.
  absl::StatusOr<ModelHandle> Find(std::string_view name, std::optional<int64_t> version) const;

  // All configured versions of a model, ascending, whatever their state; NOT_FOUND.
  absl::StatusOr<std::vector<std::shared_ptr<const ModelVersion>>> VersionsOf(std::string_view name) const;

  // All of all models, by name and version.
  std::vector<std::shared_ptr<const ModelVersion>> AllVersions() const;

  bool AllReady() const;

 private:
  using Versions = std::vector<std::shared_ptr<ModelVersion>>;  // ascending, at least one
  struct Loaded {
    std::unique_ptr<Model> model;
    Labels labels;
    std::vector<std::unique_ptr<RowsObserver>> observers;
  };

  absl::StatusOr<const Versions*> FindModel(std::string_view name) const;
  void Load(const std::shared_ptr<ModelVersion>& loading);
  absl::StatusOr<Loaded> LoadFiles(const ModelVersion& version, const LoadOptions& options);

  const Options options_;
  std::map<std::string, Versions, std::less<>> models_;  // never changes after construction
  std::atomic<bool> stopping_ = false;                   // read by the loader between two loads
  std::thread loader_thread_;
};

}  // namespace hachi::server
