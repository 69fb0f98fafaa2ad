#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/engine.h"
#include "server/commands/report_facts.h"

namespace hachi::server {

// A model that a report measures, and what it found of it.
struct MeasuredModel {
  std::unique_ptr<Model> model;
  std::shared_ptr<const RowShapes> shapes;
  SpeedFacts speed;
};

// Errors are LoadModel's, naming the model; INVALID_ARGUMENT for one whose inputs have free dimensions.
absl::StatusOr<MeasuredModel> LoadMeasured(const LoadOptions& options);

// Runs batches of both in turns, so that noise of the machine meets both, for `seconds` in all, and fills
// their speed.
absl::Status MeasureInTurns(MeasuredModel& a, MeasuredModel& b, int64_t rows, double seconds);

// Times each step of the plan for so many rows, for about so long.
absl::StatusOr<std::vector<StepProfile>> ProfileSteps(const MeasuredModel& measured, int64_t rows,
                                                      double seconds);

// Holds the model's answers to rows of the samples, 256 at most, against those of the other, in FP32.
absl::StatusOr<AccuracyFacts> CompareOnData(const Model& model, const Model& fp32, const std::string& data);

}  // namespace hachi::server
