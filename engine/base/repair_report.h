#pragma once

#include <string>

namespace hachi {

// Which repairs of quantization are made where they are worth it: model.yaml's `repairs`.
struct Repairs {
  bool equalization = true;
  bool bias_correction = true;
};

// One that was made.
struct RepairReport {
  std::string repair;  // "equalization", "bias_correction"
  std::string name;    // of the tensor or node
  double gain = 0;     // decibels of estimated noise that it takes off
};

}  // namespace hachi
