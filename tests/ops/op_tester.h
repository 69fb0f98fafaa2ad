#pragma once

#include <string_view>

#include "absl/status/status.h"

namespace hachi {

// Holds an operator's lowered form to its reference, on random data.
struct OpCase {
  // A graph with one node (text form, see engine/graph/graph.h); dims of the output may be [?]: they are
  // inferred. Layouts and quantization are those of its values. Inputs are filled with random numbers
  // (integers: over their whole range).
  std::string_view graph;
  double low = -2, high = 2;  // of real inputs
  // Real results: |lowered - reference| <= tolerance * (1 + |reference|). Integer results: at most one step
  // apart, and more than `tie_share` of the elements equal.
  double tolerance = 1e-4;
  double tie_share = 0.99;
  // The kernel that must have been chosen, a substring; "" for any but the reference.
  std::string_view kernel = "";
  int threads = 1;
};

// OK when the lowered form agrees, the node is lowered to something else than its reference, and the lowered
// form leaves memory around its output alone.
absl::Status RunOpCase(const OpCase& op_case);

}  // namespace hachi
