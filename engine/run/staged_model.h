#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "engine/engine.h"
#include "engine/run/stages.h"

namespace hachi {

// The two stages of a graph whose inputs have fixed shapes, each compiled (see SplitStages). The second one's
// plans are made in a run, when they are missing: what it takes shows no earlier. A run also allocates what
// is handed over.
//
// Thread-safe.
class StagedModel final : public Model {
 public:
  // REQUIRES: `first` has fixed shapes; `second` takes whole tensors, one for each handed value.
  StagedModel(std::unique_ptr<Model> first, std::unique_ptr<Model> second, std::vector<HandedValue> handed);

  const Signature& signature() const override { return signature_; }
  const ModelInfo& info() const override { return first_->info(); }

  // One run on zeros, which shows whether the second stage can be made at all.
  absl::Status WarmUp() const;

  absl::StatusOr<std::shared_ptr<const RowShapes>> ShapesOf(
      std::span<const std::vector<int64_t>> inputs, std::span<const InputChunks> values) const override;
  absl::Status MakePlans(const PlanSet& plans, int64_t rows, Team team) const override;
  PlanCacheStats plan_cache_stats() const override;
  absl::StatusOr<RunTimes> Run(RunContext& context, std::span<const Rows> requests) const override;

  // Of the first stage: what the second one is depends on the request.
  absl::StatusOr<std::string> PlanText(const RowShapes* shapes, int64_t rows) const override;
  absl::StatusOr<std::vector<StepFacts>> Steps(const RowShapes* shapes, int64_t rows) const override;
  absl::StatusOr<std::vector<StepProfile>> Profile(RunContext& context, const RowShapes* shapes, int64_t rows,
                                                   int runs) const override;

 private:
  std::unique_ptr<const Model> first_, second_;
  std::vector<HandedValue> handed_;
  Signature signature_;
};

}  // namespace hachi
