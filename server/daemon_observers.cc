#include "server/daemon_observers.h"

#include <optional>
#include <random>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/base/log.h"
#include "engine/base/status_macros.h"
#include "engine/shadow/shadow_model.h"
#include "server/models/load_options.h"
#include "server/record/row_recorder.h"
#include "server/shadow/row_shadow.h"

namespace hachi::server {

absl::StatusOr<std::unique_ptr<RowsObserver>> ShadowOf(const ModelVersion& version, const Model& model,
                                                       Metrics& metrics) {
  const ShadowConfig& config = version.config().shadow;
  if (config.rate == 0) return nullptr;
  if (model.info().precision == Precision::kFp32) {
    LogInfo(absl::StrCat(version.what(), ": shadow: it runs in fp32, there is nothing to compare"));
    return nullptr;
  }
  ASSIGN_OR_RETURN(auto shadow, LoadShadow(LoadOptionsOf(version.config(), version.files(), /*threads=*/1)));
  return std::make_unique<RowShadow>(
      RowShadow::Options{.what = version.what(),
                         .rate = config.rate,
                         .cpu = config.cpu,
                         .seed = std::random_device()(),
                         .model = &model,
                         .shadow = std::move(shadow),
                         .metrics = metrics.ForShadow(version.name(), version.version())});
}

absl::StatusOr<std::vector<std::unique_ptr<RowsObserver>>> ObserversOf(const ModelVersion& version,
                                                                       const Model& model, Metrics& metrics) {
  std::vector<std::unique_ptr<RowsObserver>> observers;
  if (const std::optional<RecordConfig>& record = version.config().record) {
    ASSIGN_OR_RETURN(auto recorder,
                     RowRecorder::Create({.what = version.what(),
                                          .folder = record->dir / absl::StrCat(version.version()),
                                          .rows = record->rows,
                                          .seed = std::random_device()(),
                                          .signature = &model.signature(),
                                          .metrics = &version.metrics()}));
    observers.push_back(std::move(recorder));
  }
  ASSIGN_OR_RETURN(std::unique_ptr<RowsObserver> shadow, ShadowOf(version, model, metrics));
  if (shadow != nullptr) observers.push_back(std::move(shadow));
  return observers;
}

}  // namespace hachi::server
