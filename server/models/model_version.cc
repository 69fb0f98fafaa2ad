#include "server/models/model_version.h"

#include <algorithm>
#include <cstdlib>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/base/log.h"
#include "engine/base/status_macros.h"
#include "server/models/client_message.h"

namespace hachi::server {

ModelVersion::ModelVersion(std::shared_ptr<const ModelConfig> config, VersionFiles files,
                           std::unique_ptr<ModelMetrics> metrics)
    : config_(std::move(config)), files_(std::move(files)), metrics_(std::move(metrics)) {
  for (ModelState state : kModelStates) metrics_->SetState(NameOf(state), state == ModelState::kWaiting);
}

absl::Status ModelVersion::ReadyStatus() const {
  switch (const ModelState now = state()) {
    case ModelState::kReady:
      return absl::OkStatus();
    case ModelState::kFailed:
      return absl::UnavailableError(absl::StrCat(what(), ": failed to load: ", error_for_clients_));
    case ModelState::kWaiting:
    case ModelState::kLoading:
      return absl::UnavailableError(absl::StrCat(what(), ": ", std::string(NameOf(now)), ", expected ready"));
  }
  return absl::OkStatus();
}

void ModelVersion::StartLoading() { TransitionTo(ModelState::kLoading); }

void ModelVersion::ReportGuard(const GuardReport& report) {
  guard_ = report;
  metrics_->SetGuard(report);
}

void ModelVersion::FinishLoading(std::unique_ptr<const Model> model, absl::Duration load_time, Labels labels,
                                 std::vector<std::unique_ptr<RowsObserver>> observers) {
  model_ = std::move(model);
  labels_ = std::move(labels);
  observers_ = std::move(observers);
  has_free_shapes_ = std::ranges::any_of(model_->signature().inputs, &TensorSignature::is_free);
  const ModelInfo& info = model_->info();
  metrics_->load_seconds.Set(absl::ToDoubleSeconds(load_time));
  metrics_->weights_bytes.Set(static_cast<double>(info.weights_bytes));
  metrics_->weights_copies.Set(static_cast<double>(info.weights_copies));
  metrics_->arena_bytes.Set(static_cast<double>(info.arena_bytes));
  metrics_->vnni_mac_ratio.Set(info.vnni_mac_ratio);
  metrics_->reference_steps.Set(static_cast<double>(info.reference_steps.size()));
  for (const auto& [precision, count] : info.layers_by_precision) metrics_->SetLayers(precision, count);
  TransitionTo(ModelState::kReady);
}

void ModelVersion::FailLoading(const absl::Status& error, absl::Duration load_time) {
  error_for_clients_ = WithoutPaths(std::string(error.message()), config_->dir);
  metrics_->load_seconds.Set(absl::ToDoubleSeconds(load_time));
  TransitionTo(ModelState::kFailed);
}

void ModelVersion::TransitionTo(ModelState to) {
  const ModelState from = state();
  if (!IsLegal(from, to)) {
    LogError(absl::StrCat("model '", name(), "': state ", std::string(NameOf(from)), " cannot become ",
                          std::string(NameOf(to))));
    std::abort();
  }
  state_.store(to, std::memory_order_release);
  metrics_->SetState(NameOf(from), false);
  metrics_->SetState(NameOf(to), true);
}

}  // namespace hachi::server
