#pragma once

#include <functional>
#include <list>
#include <map>
#include <memory>
#include <set>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "engine/base/mutex.h"
#include "engine/engine.h"
#include "engine/graph/graph.h"
#include "engine/run/prepare.h"
#include "engine/run/stages.h"
#include "engine/tensor/input_options.h"

namespace hachi {

// A model whose graph is known only with a request: what inputs hold decides dimensions (a reshape's target,
// how much is padded) or branches, or dimensions decide branches. Requests run by themselves, as whole
// tensors. For each combination of shapes and deciding values the graph is prepared when it first comes, and
// compiled, off the serving threads, into a model of its own; the one used least recently leaves when
// plan_bytes are full. A graph that not even a request makes known runs in stages (StagedModel).
//
// Thread-safe.
class SpecializedModel final : public Model {
 public:
  using Inputs = std::map<std::string, InputOptions>;  // by name

  struct Spec {
    Graph imported;
    std::set<size_t> deciding = {};  // DecidingInputs of it
    Inputs inputs;                   // what is configured of them
    std::string why;                 // why there is no batch
    ModelInfo info;                  // what is known before anything is compiled
    int64_t plan_bytes = 0;
    bool is_stage = false;  // of a request: its inputs may be empty, and nothing is tried before one comes

    // Compiles a graph whose shapes are numbers; `is_part`: there are other stages.
    std::function<absl::StatusOr<std::unique_ptr<Model>>(PreparedGraph, const Inputs&, bool is_part)> compile;
  };

  // Where no values decide, usual sizes are compiled, to see that the model runs.
  static absl::StatusOr<std::unique_ptr<Model>> Create(Spec spec);

  const Signature& signature() const override { return signature_; }
  const ModelInfo& info() const override { return spec_.info; }

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
  class Special;

  // Shapes of all inputs, and the bytes of those that decide.
  struct Key {
    std::vector<std::vector<int64_t>> shapes;
    std::vector<std::vector<std::byte>> values;
    friend bool operator==(const Key&, const Key&) = default;
  };

  using Form = std::variant<PreparedGraph, Stages>;  // of a graph, for one key

  explicit SpecializedModel(Spec spec);

  absl::Status TryUsualShapes();

  absl::Status CheckShapes(std::span<const std::vector<int64_t>> inputs) const;
  absl::StatusOr<std::shared_ptr<Special>> Prepare(Key key) const;
  absl::Status CheckSizes(const Graph& graph) const;
  absl::StatusOr<std::vector<std::vector<int64_t>>> OutputShapes(const Graph& graph) const;
  absl::StatusOr<std::unique_ptr<Model>> Compile(Form form) const;
  std::shared_ptr<const RowShapes> ShapesFor(const std::shared_ptr<Special>& special) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::StatusOr<std::shared_ptr<const Model>> CompiledOf(const RowShapes* shapes) const;

  // Drops what nobody uses beyond plan_bytes.
  void MakeRoom() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  // These never change after Create.
  Spec spec_;
  std::vector<InputOptions> clients_;  // what clients send, in the graph's order
  Signature signature_;  // whole tensors; of outputs the names and types, and the rank where tried

  mutable Mutex making_;  // held while a model is compiled; before mutex_
  mutable Mutex mutex_;
  mutable std::list<std::shared_ptr<Special>> specials_
      ABSL_GUARDED_BY(mutex_);  // the one used last in front
  mutable int64_t evictions_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace hachi
