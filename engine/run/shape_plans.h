#pragma once

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

// Plans for rows of one set of shapes, by batch size, and what brings such rows in and out.
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
  std::shared_ptr<const Sizes> sizes() const;

  // The smallest plan that takes so many rows, or null.
  std::shared_ptr<const Plan> PlanFor(int64_t rows) const;

  void Add(int64_t rows, std::shared_ptr<const Plan> plan, absl::Duration run_time);

  int64_t bytes() const;

  int64_t largest_rows() const override;
  std::map<int64_t, absl::Duration> run_times() const override;

 private:
  const Ends ends_;
  mutable Mutex mutex_;
  std::map<int64_t, std::shared_ptr<const Plan>> plans_ ABSL_GUARDED_BY(mutex_);
  std::map<int64_t, absl::Duration> run_times_ ABSL_GUARDED_BY(mutex_);
  std::shared_ptr<const Sizes> sizes_ ABSL_GUARDED_BY(mutex_);
};

// What a plan costs in memory: the arena of a run, and about what its steps and their code take.
int64_t BytesOf(const Plan& plan);

}  // namespace hachi
