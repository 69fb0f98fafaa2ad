#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/engine.h"
#include "engine/shadow/tensor_range.h"
#include "engine/tensor/tensor.h"

namespace hachi {

// What rows held of one tensor.
struct TensorUse {
  double clipped = 0;  // share of values that lie beyond the range that integers reach
  double used = 0;     // share of that range that values reach
};

// A served model's file once more in FP32, unfused, so that every tensor is there to be seen: what rows that
// clients sent are answered in FP32, and what their tensors hold beside what calibration saw.
//
// Remembers the last 256 to 512 rows. Has weights of its own, in the file's size.
//
// Confined to one thread at a time, whose OpenMP team must have one size throughout.
class ShadowModel {
 public:
  virtual ~ShadowModel() = default;

  // What the model answers to one row as a client sends it (with a leading 1 where rows run together), by the
  // inputs' names: the outputs in the signature's order, with the leading 1 too. INVALID_ARGUMENT for a row
  // that holds no number; else what Plan::Create and kernels say.
  virtual absl::StatusOr<std::vector<Tensor>> Run(const std::map<std::string, Tensor>& row) = 0;

  // Of the remembered rows, the tensors among `ranges` that they had, by name.
  virtual std::map<std::string, TensorUse> Uses(const std::map<std::string, TensorRange>& ranges) const = 0;

  // How far they lie from what calibration saw (PopulationStability), by input; of those with a line in a
  // table of ours.
  virtual std::map<std::string, double> Drifts() const = 0;
};

// Reads options.model and its table again; of the other options, those of inputs count. UNIMPLEMENTED for a
// model that only its requests make known; else what ImportModel says.
absl::StatusOr<std::unique_ptr<ShadowModel>> LoadShadow(const LoadOptions& options);

}  // namespace hachi
