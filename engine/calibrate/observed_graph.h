#pragma once

#include <cstdint>
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

// A prepared graph that runs samples, unfused, and notes in a table what each computed f32 tensor held.
//
// Confined to one thread. The options of inputs and the table outlive it.
class ObservedGraph {
 public:
  static absl::StatusOr<std::unique_ptr<ObservedGraph>> Create(
      PreparedGraph prepared, const std::map<std::string, InputOptions>& inputs, CalibrationTable& table);

  // Runs every row of the sample; how many there were. INVALID_ARGUMENT where it doesn't fit the graph.
  absl::StatusOr<int64_t> Run(const Sample& sample);

  // What the last run made, dense and row-major, in the graph's order. REQUIRES: the graph takes whole
  // tensors.
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

  // The ways in which a sample may hold each input: as the model takes it, or as clients send it.
  void MakeForms(const std::map<std::string, InputOptions>& inputs);

  // The tensor as rows of input `i`; notes what its free dimensions are.
  absl::StatusOr<FittedInput> Fit(size_t i, const Tensor& tensor, Bindings& bindings) const;

  // Integers that pick rows of a table are within it: what others pick is nothing to calibrate with.
  absl::Status CheckRange(size_t i, const Tensor& tensor) const;

  absl::Status RunRows(const std::vector<FittedInput>& inputs, Bindings bindings, int64_t first,
                       int64_t rows);
  void Observe(const BoundPlan& bound, const Place& place);

  Graph graph_;
  std::optional<Dim> rows_;  // the symbol that counts them; nullopt: the graph takes no batches
  CalibrationTable& table_;
  std::set<std::string, std::less<>> observed_;
  std::vector<std::vector<InputOptions>> forms_;     // of each input
  std::vector<std::optional<IntegerRange>> ranges_;  // likewise
  WeightCache weights_;                              // of the graph's constants
  std::map<Bindings, std::shared_ptr<const Plan>> plans_;
  std::shared_ptr<const Plan> last_;  // that ran
  PlanRunner runner_;
};

}  // namespace hachi
