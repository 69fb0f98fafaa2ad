#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <vector>

#include "absl/time/time.h"
#include "engine/base/mutex.h"
#include "engine/engine.h"
#include "engine/graph/dim.h"
#include "engine/kernels/intake.h"
#include "engine/kernels/outlet.h"
#include "engine/plan/plan.h"
#include "engine/run/cover.h"

namespace hachi {

// Plans for rows of one set of shapes, by team and batch size, and what brings such rows in and out.
//
// Thread-safe.
class ShapePlans final : public PlanSet {
 public:
  // What the shapes are, in the plans: of one row, in the model's order of axes, padding included.
  struct Ends {
    Bindings bindings;  // of every symbol but that of the rows
    std::vector<Shape> inputs, outputs;
    std::vector<Shape> client_inputs;  // the same, as clients order axes
    std::vector<Intake> intakes;
    std::vector<Outlet> outlets;
  };

  // The plans that are there at one moment.
  struct Sizes {
    std::vector<int64_t> rows;  // ascending
    std::vector<std::shared_ptr<const Plan>> plans;
    Cover cover;
  };

  explicit ShapePlans(Ends ends) : ends_(std::move(ends)) {}

  const Ends& ends() const { return ends_; }

  // Null before the first.
  std::shared_ptr<const Sizes> sizes(Team team) const;

  // The smallest plan for workers that takes so many rows, or null.
  std::shared_ptr<const Plan> PlanFor(int64_t rows) const;

  void Add(Team team, int64_t rows, std::shared_ptr<const Plan> plan);

  // What a run of that plan took.
  void NoteRunTime(Team team, int64_t rows, absl::Duration time);

  int64_t bytes() const;

  int64_t largest_rows() const override { return largest_rows(Team::kWorker); }
  int64_t largest_rows(Team team) const;
  std::map<int64_t, absl::Duration> run_times(Team team) const override;

 private:
  struct OfTeam {
    std::map<int64_t, std::shared_ptr<const Plan>> plans;
    std::map<int64_t, absl::Duration> run_times;
    std::shared_ptr<const Sizes> sizes;
  };

  OfTeam& Of(Team team) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return of_teams_[static_cast<size_t>(team)]; }
  const OfTeam& Of(Team team) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return of_teams_[static_cast<size_t>(team)];
  }

  const Ends ends_;
  mutable Mutex mutex_;
  std::array<OfTeam, 2> of_teams_ ABSL_GUARDED_BY(mutex_);  // by Team
};

// What a plan costs in memory: the arena of a run, and about what its steps and their code take.
int64_t BytesOf(const Plan& plan);

}  // namespace hachi
