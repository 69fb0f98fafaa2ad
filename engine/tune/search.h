#pragma once

#include <span>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/tune/candidate.h"
#include "engine/tune/evaluator.h"

namespace hachi {

// What a search for layers to take out of INT8 asks of whoever measures.
class LayerSearch {
 public:
  virtual ~LayerSearch() = default;

  // That may be taken out, in the order of the plan.
  virtual const std::vector<Layer>& layers() const = 0;

  // The noise of each candidate (see Score); of several at little more cost than of one.
  virtual absl::StatusOr<std::vector<double>> NoiseOf(std::span<const Candidate> candidates) = 0;

  // Whether the candidate loses no more than it may.
  virtual absl::StatusOr<bool> IsGood(const Candidate& candidate) = 0;

  // The noise that good candidates are likely to stay below.
  virtual double likely_noise() const = 0;

  // Whether there is no time left to look closer: what has not been looked at stays out.
  virtual bool is_hurried() const = 0;
};

struct TakenOut {
  Candidate candidate;
  std::vector<std::string> layers;  // that are out of INT8, the one that adds most noise there first
  bool good = false;                // LayerSearch::IsGood of the candidate; else every layer is out
};

// What a layer runs in that is taken out: BF16 where the CPU has it, else FP32.
LayerChoice HigherPrecision();

// Finds few layers to take out of INT8 so that `start` becomes good. Begins with all of them out and puts
// groups of neighbours back, those that save most time first, as long as noise stays low; a group that adds
// too much is halved. So a few bad layers among many cost few measurements, also where several have to be out
// for any of them to count, as the readers of one tensor have. A second look puts back single ones that are
// not needed. Errors are the search's.
absl::StatusOr<TakenOut> TakeOutWorstLayers(const Candidate& start, LayerSearch& search);

}  // namespace hachi
