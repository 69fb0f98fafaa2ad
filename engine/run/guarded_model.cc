#include "engine/run/guarded_model.h"

#include <utility>

#include "engine/base/no_throw.h"

namespace hachi {
namespace {

class GuardedModel final : public Model {
 public:
  explicit GuardedModel(std::unique_ptr<Model> model) : model_(std::move(model)) {}

  const Signature& signature() const override { return model_->signature(); }
  const ModelInfo& info() const override { return model_->info(); }
  PlanCacheStats plan_cache_stats() const override { return model_->plan_cache_stats(); }

  absl::StatusOr<std::shared_ptr<const RowShapes>> ShapesOf(
      std::span<const std::vector<int64_t>> inputs, std::span<const InputChunks> values) const override {
    return NoThrow([&] { return model_->ShapesOf(inputs, values); });
  }
  absl::Status MakePlans(const PlanSet& plans, int64_t rows, Team team) const override {
    return NoThrow([&] { return model_->MakePlans(plans, rows, team); });
  }
  absl::StatusOr<RunTimes> Run(RunContext& context, std::span<const Rows> requests) const override {
    return NoThrow([&] { return model_->Run(context, requests); });
  }
  absl::StatusOr<std::string> PlanText(const RowShapes* shapes, int64_t rows) const override {
    return NoThrow([&] { return model_->PlanText(shapes, rows); });
  }
  absl::StatusOr<std::vector<StepFacts>> Steps(const RowShapes* shapes, int64_t rows) const override {
    return NoThrow([&] { return model_->Steps(shapes, rows); });
  }
  absl::StatusOr<std::vector<StepProfile>> Profile(RunContext& context, const RowShapes* shapes, int64_t rows,
                                                   int runs) const override {
    return NoThrow([&] { return model_->Profile(context, shapes, rows, runs); });
  }

 private:
  const std::unique_ptr<Model> model_;
};

}  // namespace

std::unique_ptr<Model> Guarded(std::unique_ptr<Model> model) {
  return std::make_unique<GuardedModel>(std::move(model));
}

}  // namespace hachi
