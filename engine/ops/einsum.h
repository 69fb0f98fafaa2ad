#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/graph/graph.h"

namespace hachi {

// An Einsum's equation with a letter for each axis; what an ellipsis stands for has digits.
struct Equation {
  std::vector<std::string> inputs;
  std::string output;
};

// The equation of a node (ONNX opset 12) for its inputs' ranks. INVALID_ARGUMENT where they do not fit.
absl::StatusOr<Equation> EquationOf(const Node& node);

}  // namespace hachi
