#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "config/model_config.h"
#include "engine/base/accuracy.h"
#include "engine/base/mutex.h"
#include "engine/engine.h"
#include "server/metrics/metrics.h"
#include "server/models/labels.h"
#include "server/models/model_state.h"
#include "server/models/model_statistics.h"
#include "server/models/rows_observer.h"

namespace hachi::server {

// One version of a configured model: what was configured, how the load fares, what its requests came to, and
// the engine's Model once it is READY.
//
// Thread-safe.
class ModelVersion {
 public:
  ModelVersion(std::shared_ptr<const ModelConfig> config, VersionFiles files,
               std::unique_ptr<ModelMetrics> metrics);

  const std::string& name() const { return config_->name; }
  int64_t version() const { return files_.version; }
  std::string what() const {
    return absl::StrCat("model '", name(), "' version ", version());
  }  // for messages
  const ModelConfig& config() const { return *config_; }
  const VersionFiles& files() const { return files_; }
  ModelMetrics& metrics() const { return *metrics_; }
  ModelStatistics& statistics() const { return statistics_; }

  ModelState state() const { return state_.load(std::memory_order_acquire); }

  // OK when READY; UNAVAILABLE, with the load's error (without paths of this machine) if it failed,
  // otherwise.
  absl::Status ReadyStatus() const;

  // REQUIRES: READY, for these four.
  const Model& model() const { return *model_; }
  const Labels& labels() const { return labels_; }
  const std::vector<std::unique_ptr<RowsObserver>>& observers() const { return observers_; }
  int64_t max_batch_rows() const {
    return model_->signature().batched ? config_->batching.max_batch_rows : int64_t{1};
  }

  // Whether requests bring shapes that need plans of their own.
  bool has_free_shapes() const { return has_free_shapes_; }

  // What the accuracy guard of the load found; nullopt: there is none. REQUIRES: READY or FAILED.
  const std::optional<GuardReport>& guard() const { return guard_; }

  // The load, step by step; the loader calls them. REQUIRES: the order that ModelState allows.
  void StartLoading();
  void ReportGuard(const GuardReport& report);
  void FinishLoading(std::unique_ptr<const Model> model, absl::Duration load_time, Labels labels = {},
                     std::vector<std::unique_ptr<RowsObserver>> observers = {});
  void FailLoading(const absl::Status& error, absl::Duration load_time);

 private:
  void TransitionTo(ModelState to);

  const std::shared_ptr<const ModelConfig> config_;
  const VersionFiles files_;
  const std::unique_ptr<ModelMetrics> metrics_;
  mutable ModelStatistics statistics_;

  // Written by the loader only. Atomic, so that a request finds its model without a lock: the release store
  // of kReady or kFailed publishes model_, labels_, observers_ and guard_, or error_for_clients_, which never
  // change after it.
  std::atomic<ModelState> state_ = ModelState::kWaiting;
  std::unique_ptr<const Model> model_;
  bool has_free_shapes_ = false;
  Labels labels_;
  std::vector<std::unique_ptr<RowsObserver>> observers_;  // outlived by model_
  std::string error_for_clients_;
  std::optional<GuardReport> guard_;
};

// A READY version; holding one keeps the version alive. A request has one from admission to completion, so
// that it sees one version throughout. Nothing else keeps one.
using ModelHandle = std::shared_ptr<const ModelVersion>;

}  // namespace hachi::server
