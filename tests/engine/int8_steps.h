#pragma once

#include <gtest/gtest.h>

#include <set>
#include <string>
#include <vector>

#include "engine/cpu/isa.h"
#include "engine/engine.h"

namespace hachi {

// Holds a plan's steps to what is promised of INT8: no tensor is stored as FP32 between two INT8 steps, and
// on a CPU with VNNI every INT8 product runs on a VNNI kernel. Returns how many INT8 products there are.
inline int CheckInt8Steps(const std::vector<StepFacts>& steps) {
  std::set<std::string> written;
  int products = 0;
  for (const StepFacts& step : steps) {
    if (step.precision != "int8") continue;
    for (const TensorFacts& input : step.inputs)
      EXPECT_FALSE(written.contains(input.name)) << input.name << " is FP32 between INT8 steps";
    for (const TensorFacts& output : step.outputs)
      if (output.dtype == DType::kF32) written.insert(output.name);
    if (step.macs == 0) continue;
    ++products;
    EXPECT_TRUE(step.vnni || !HasVnni(DetectIsa())) << step.name << " runs on " << step.kernel;
  }
  return products;
}

}  // namespace hachi
