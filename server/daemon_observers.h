#pragma once

#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/engine.h"
#include "server/metrics/metrics.h"
#include "server/models/model_version.h"
#include "server/models/rows_observer.h"

namespace hachi::server {

// What model.yaml's `shadow` asks for of a version that is about to be served; null where it asks for
// nothing, or FP32 is what is served. Errors are LoadShadow's. `metrics` outlives it.
absl::StatusOr<std::unique_ptr<RowsObserver>> ShadowOf(const ModelVersion& version, const Model& model,
                                                       Metrics& metrics);

// Likewise everybody who is to look at the version's rows; that, and RowRecorder.
absl::StatusOr<std::vector<std::unique_ptr<RowsObserver>>> ObserversOf(const ModelVersion& version,
                                                                       const Model& model, Metrics& metrics);

}  // namespace hachi::server
