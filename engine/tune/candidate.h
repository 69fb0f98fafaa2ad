#pragma once

#include <map>
#include <string>
#include <vector>

#include "engine/base/precision.h"
#include "engine/base/repair_report.h"
#include "engine/decide/decisions.h"
#include "engine/engine.h"
#include "engine/quant/range.h"

namespace hachi {

// What is decided of a layer.
struct LayerChoice {
  Precision precision = Precision::kInt8;
  RangeMethod range = RangeMethod::kAuto;  // of what it reads, where it is INT8

  friend bool operator==(const LayerChoice&, const LayerChoice&) = default;
};

// A way to run a model in INT8: what the whole of it runs with, and the layers that are decided otherwise.
struct Candidate {
  RangeMethod range = RangeMethod::kAuto;
  Repairs repairs;
  std::map<std::string, LayerChoice> layers;

  // "range=auto equalization=on bias_correction=on conv1=bf16 fc=int8/mse": tells candidates apart.
  std::string Key() const;

  // What of Key differs from the other's.
  std::vector<std::string> ChangesFrom(const Candidate& other) const;

  // The layers as decisions of that origin.
  Decisions ToDecisions(Origin origin) const;

  // `options` with this candidate in the place of what it is about, decided by `origin`.
  LoadOptions In(LoadOptions options, Origin origin) const;
};

}  // namespace hachi
