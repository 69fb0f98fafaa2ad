#pragma once

#include <cstdint>
#include <list>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "engine/base/mutex.h"
#include "engine/engine.h"
#include "engine/graph/graph.h"
#include "engine/plan/plan.h"
#include "engine/plan/runner.h"
#include "engine/product/weight_cache.h"
#include "engine/run/shape_plans.h"
#include "engine/tensor/input_options.h"

namespace hachi {

// A graph that passes have finished, and what plans are made of it for.
struct Compiled {
  Graph graph;
  std::optional<Dim> rows;           // the symbol that counts rows; nullopt: requests are whole tensors
  std::vector<InputOptions> inputs;  // what clients send, in the graph's order
  Signature signature;
  ModelInfo info;  // what is known before a plan is made
  PlanOptions plan_options;
  std::shared_ptr<PackedWeights> packed;  // with other models of the same file; null: with none
  int threads = 1, wide_threads = 0;      // as LoadOptions
  int64_t max_batch_rows = 1;
  int64_t plan_bytes = 0;
};

// A compiled model and its plans. Without free dimensions all plans for workers are made at once, and the
// graph is let go with the last one for the wide team;
// with some, a set of plans is made for each shape that comes, and the one used least recently leaves when
// LoadOptions::plan_bytes are full.
//
// Thread-safe.
class LoadedModel final : public Model {
 public:
  // Makes the plans of a model without free dimensions; of another one, a set for sizes that are configured
  // or usual, to see that it runs.
  static absl::StatusOr<std::unique_ptr<Model>> Create(Compiled compiled);

  const Signature& signature() const override { return compiled_.signature; }
  const ModelInfo& info() const override { return compiled_.info; }

  absl::StatusOr<std::shared_ptr<const RowShapes>> ShapesOf(
      std::span<const std::vector<int64_t>> inputs, std::span<const InputChunks> values) const override;
  absl::Status MakePlans(const PlanSet& plans, int64_t rows, Team team) const override;
  PlanCacheStats plan_cache_stats() const override;

  absl::StatusOr<RunTimes> Run(RunContext& context, std::span<const Rows> requests) const override;

  absl::StatusOr<std::string> PlanText(const RowShapes* shapes, int64_t rows) const override;
  absl::StatusOr<std::vector<StepFacts>> Steps(const RowShapes* shapes, int64_t rows) const override;
  absl::StatusOr<std::vector<StepProfile>> Profile(RunContext& context, const RowShapes* shapes, int64_t rows,
                                                   int runs) const override;

 private:
  class Batch;
  using Sets = std::list<std::shared_ptr<ShapePlans>>;  // the one used last in front

  explicit LoadedModel(Compiled compiled) : compiled_(std::move(compiled)), weights_(compiled_.packed) {}

  bool is_free() const { return !symbols_.empty(); }
  absl::Status MakeFixedPlans();
  absl::Status MakeTrialPlans();
  void FillInfo(const Plan& one, const ShapePlans& set);

  // What the symbols stand for in a request of these shapes, as clients send them.
  absl::StatusOr<Bindings> Bind(std::span<const std::vector<int64_t>> inputs) const;

  // The largest size that a free dimension is configured to have; nullopt: any.
  std::optional<int64_t> Largest(const std::string& symbol) const;

  // The same with free dimensions raised to their buckets. INVALID_ARGUMENT beyond a bound.
  absl::StatusOr<Bindings> Pad(const Bindings& bindings) const;

  // `input`: whether of inputs; else of outputs. One row, in the model's order of axes.
  absl::StatusOr<std::vector<Shape>> RowsOf(bool inputs, const Bindings& bindings) const;

  // Rows that plans are made for, ascending.
  std::vector<int64_t> Sizes() const;

  absl::StatusOr<ShapePlans::Ends> MakeEnds(const Bindings& bindings) const;
  absl::StatusOr<std::shared_ptr<ShapePlans>> SetFor(const Bindings& bindings) const;
  absl::Status CheckFits(const Bindings& bindings) const;

  // The calling thread's team has that team's size afterwards.
  absl::Status MakePlan(ShapePlans& set, Team team, int64_t rows) const;

  // Runs the plan that was made last, unless that takes long. REQUIRES: as MakePlan left the team.
  absl::Status WarmUp(ShapePlans& set, Team team, int64_t rows, PlanRunner& runner) const;

  // The next set, this one gone.
  Sets::iterator Drop(Sets::iterator set) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  // Drops sets that nobody uses, the least recently used first, until the bound holds with `more_bytes`.
  absl::Status MakeRoom(int64_t more_bytes) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  // After Create only the graph changes: it is let go with the last plan, under making_.
  mutable Compiled compiled_;
  std::set<std::string> symbols_;                  // free ones; never changes after Create
  std::map<std::string, FreeDimOptions> bounds_;   // by symbol
  std::shared_ptr<const RowShapes> fixed_shapes_;  // without free dimensions
  mutable WeightCache weights_;

  mutable Mutex making_;  // held while a plan is made; before mutex_
  mutable Mutex mutex_;
  mutable Sets sets_ ABSL_GUARDED_BY(mutex_);
  mutable std::map<Bindings, Sets::iterator> set_of_ ABSL_GUARDED_BY(mutex_);
  mutable int64_t evictions_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace hachi
