#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "engine/engine.h"
#include "engine/tune/golden.h"
#include "engine/tune/score.h"

namespace hachi {

// How rows are run.
struct RunSetup {
  int workers = 1;         // threads that run at the same time, a team each
  int threads = 1;         // of each team: LoadOptions::threads of the model
  int64_t batch_rows = 1;  // rows that run together where their shapes are the same; 1 where not batched
};

// What the model answers to the rows, in their order. On threads of its own. UNIMPLEMENTED where only a run
// finds how much an output holds.
absl::StatusOr<std::vector<Answer>> AnswersOf(const Model& model, std::span<const GoldenRow> rows,
                                              const RunSetup& setup);

// Rows a second of each model, by round. In a round they take turns with the same rows, so that whatever else
// the machine does slows all of them alike: what is to be compared are rates of one round. Workers of one
// thread count the time that they had a CPU. Takes about `time`, but no less than some runs of each.
absl::StatusOr<std::vector<std::vector<double>>> RatesOf(std::span<const Model* const> models,
                                                         std::span<const GoldenRow> rows,
                                                         const RunSetup& setup, absl::Duration time);

// What the model runs a row on, with plans made. One of a model without free shapes.
absl::StatusOr<std::shared_ptr<const RowShapes>> ShapesOfRow(const Model& model, const GoldenRow& row);

}  // namespace hachi
