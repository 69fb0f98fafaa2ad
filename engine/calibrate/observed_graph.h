#pragma once

#include <cstdint>
#include <functional>
#include <limits>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/graph/graph.h"
#include "engine/plan/plan.h"
#include "engine/plan/runner.h"
#include "engine/product/weight_cache.h"
#include "engine/quant/calibration_table.h"
#include "engine/run/prepare.h"
#include "engine/samples/sample_set.h"
#include "engine/tensor/input_options.h"
#include "engine/tensor/integer_range.h"

namespace hachi {

// The rows of a sample that are run over.
struct RowPart {
  int64_t skip = 0;                                    // rows in front; may be negative: none
  int64_t most = std::numeric_limits<int64_t>::max();  // behind those
  std::function<bool()> stop;              // asked every few rows: whether to end here; may be empty
  std::function<void(int64_t rows)> done;  // called behind every few; may be empty
};

// How a sample may hold an input.
enum class SampleForms {
  kModelOrClient,  // as the model takes it, or as clients send it
  kClient,         // as clients send it
};

// A prepared graph that runs samples, unfused, and notes in a table what each computed f32 tensor held.
//
// Confined to one thread. The options of inputs and the table outlive it.
class ObservedGraph {
 public:
  static absl::StatusOr<std::unique_ptr<ObservedGraph>> Create(
      PreparedGraph prepared, const std::map<std::string, InputOptions>& inputs, CalibrationTable& table,
      SampleForms forms = SampleForms::kModelOrClient);

  // Runs that part of the sample; how many rows the sample has. INVALID_ARGUMENT where it doesn't fit the
  // graph or a row holds no number, CANCELLED where it was stopped.
  absl::StatusOr<int64_t> Run(const Sample& sample, const RowPart& part);

  // What the last run made, of its last rows where it takes batches (eight at most), dense and row-major, in
  // the graph's order. REQUIRES: there was one.
  absl::StatusOr<std::vector<Tensor>> Outputs();

 private:
  // Rows of one input of a sample.
  struct FittedInput {
    const InputOptions* client;  // how its rows lie
    Shape row_shape;             // in the model's order of axes
    std::span<const std::byte> bytes;
    int64_t rows;
  };

  ObservedGraph(PreparedGraph prepared, CalibrationTable& table)
      : graph_(std::move(prepared.graph)), rows_(std::move(prepared.rows)), table_(table) {}

  // The ways in which a sample may hold each input.
  void MakeForms(const std::map<std::string, InputOptions>& inputs, SampleForms forms);

  // The tensor as rows of input `i`; notes what its free dimensions are.
  absl::StatusOr<FittedInput> Fit(size_t i, const Tensor& tensor, Bindings& bindings) const;

  // Integers that pick rows of a table are within it: what others pick is nothing to calibrate with.
  absl::Status CheckRange(size_t i, const Tensor& tensor) const;

  // A row of NaN alone says nothing of the model's tensors. Single ones are counted apart, as infinities are.
  absl::Status CheckNumbers(const std::vector<FittedInput>& inputs, int64_t first, int64_t rows) const;

  absl::Status RunRows(const std::vector<FittedInput>& inputs, Bindings bindings, int64_t first,
                       int64_t rows);
  void Observe(const BoundPlan& bound, const Place& place);

  Graph graph_;
  std::optional<Dim> rows_;  // the symbol that counts them; nullopt: the graph takes no batches
  CalibrationTable& table_;
  std::set<std::string, std::less<>> observed_;
  std::set<std::string, std::less<>> tokens_;        // of those, whose last axis matrix products sum over
  std::vector<std::vector<InputOptions>> forms_;     // of each input
  std::vector<std::optional<IntegerRange>> ranges_;  // likewise
  WeightCache weights_;                              // of the graph's constants
  std::map<Bindings, std::shared_ptr<const Plan>> plans_;
  std::shared_ptr<const Plan> last_;  // that ran
  PlanRunner runner_;
};

}  // namespace hachi
