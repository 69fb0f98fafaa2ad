#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/tensor/tensor.h"

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
  // The offer that must have been taken, "ref" for none; "" for any. Not looked at below VNNI, where fewer
  // combinations have one.
  std::string_view kernel = "";
  int threads = 1;
  // Why the reference may allocate where it runs as a step; empty: it may not.
  std::string_view reference_allocates = "";
};

// Whether the CPU, as far as ONEDNN_MAX_CPU_ISA lets us use it, sums products of bytes in 32 bits. Elsewhere
// pairs saturate at 16 bits: cases then keep to u8 sources and to weights within [-63, 63].
bool SumsBytesExactly();

// OK when the lowered form agrees, is made of the offer that the case wants, leaves memory around its output
// alone, and does not allocate while it runs (but for oneDNN's small lists of arguments); and when the
// reference as a step gives the reference's answer, without allocating either.
absl::Status RunOpCase(const OpCase& op_case);

// Outputs of a graph's nodes as inference leaves them, "y: f32[N,3]", the last node's only; its content
// behind it where that is known, "y: s64[2] = [N,3]".
absl::StatusOr<std::string> InferText(std::string_view graph);

// What the references of a graph of constants give: the outputs of its last node.
absl::StatusOr<std::vector<Tensor>> RunReferences(std::string_view graph);

}  // namespace hachi
