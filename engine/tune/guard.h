#pragma once

#include <memory>

#include "absl/status/statusor.h"
#include "engine/engine.h"

namespace hachi {

// LoadModel, with the accuracy guard of options.guard: a model in INT8, by a calibration table, by quantizers
// of its own, or by what a run finds, is compared with FP32 on golden samples first: with its file as real
// numbers compute it, quantizers included. Loses it more than it may, its worst layers run in a higher
// precision, the whole model runs in FP32, or the load fails: FAILED_PRECONDITION, naming the layers.
// options.on_guard gets what was found. Without golden samples, or in FP32 or BF16, it is LoadModel.
//
// Runs on all CPUs of the budget while it compares. What it found is remembered in options.guard.cache; a
// folder that can't be written costs a warning. Errors are those of LoadModel, and of samples or labels that
// don't fit.
absl::StatusOr<std::unique_ptr<Model>> LoadGuarded(const LoadOptions& options);

}  // namespace hachi
