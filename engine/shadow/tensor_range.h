#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "engine/engine.h"

namespace hachi {

// The real numbers that a tensor's integers reach. REQUIRES: low < high.
struct TensorRange {
  float low = 0, high = 0;
};

// The ranges of what a plan's steps read and write as integers, by the names that the file has for the real
// numbers that they stand for. Here in full: who reads facts of a plan need not link what makes plans.
inline std::map<std::string, TensorRange> RangesOf(const std::vector<StepFacts>& steps) {
  // As place_quantizers names the integers of a value.
  constexpr std::string_view kOfIntegers = "_quantized";
  std::map<std::string, TensorRange> ranges;
  const auto add = [&](const std::vector<TensorFacts>& tensors) {
    for (const TensorFacts& tensor : tensors) {
      std::string_view name = tensor.name;
      if (name.ends_with(kOfIntegers)) name.remove_suffix(kOfIntegers.size());
      if (tensor.low < tensor.high) ranges[std::string(name)] = {tensor.low, tensor.high};
    }
  };
  for (const StepFacts& step : steps) {
    add(step.inputs);
    add(step.outputs);
  }
  return ranges;
}

}  // namespace hachi
