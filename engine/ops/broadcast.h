#pragma once

#include "engine/onednn/binary.h"
#include "engine/ops/op.h"

// What element-wise operators of several inputs share, which broadcast as NumPy does.
namespace hachi {

// One operator's arithmetic. Integers wrap at their type's width. More than two inputs are folded from the
// left.
struct BinaryFunction {
  double (*real)(double, double);
  int64_t (*integer)(int64_t, int64_t);
};

// Every input real (f32 or quantized), or every one of the same integer or f64 type; the output like them,
// its content left unknown.
absl::Status InferBroadcast(Node& node);

// The contents of both inputs of a node, elements paired by broadcasting; nullopt where one is unknown.
struct PairedContent {
  SymbolicShape a, b;
};
std::optional<PairedContent> PairContents(const Node& node);

// Where element `i` of `shape` lies in an operand that broadcasts to it. For references.
int64_t BroadcastIndex(int64_t i, std::span<const int64_t> shape, std::span<const int64_t> operand);

// Post-ops are applied to real results.
absl::Status ReferenceBroadcast(const Node& node, std::span<const TensorView> inputs,
                                std::span<Tensor> outputs, const BinaryFunction& function);

// Two real inputs.
absl::StatusOr<std::unique_ptr<Step>> LowerBinary(const LowerContext& context, BinarySpec::Kind kind);

}  // namespace hachi
