#pragma once

#include <span>
#include <vector>

#include "engine/ops/op.h"
#include "engine/ops/strided_copy.h"

// What the operators share whose outputs hold elements of their inputs and nothing else.
namespace hachi {

// Element i of the output is element i of input 0, both in row-major order: Reshape and its kin.
absl::Status ReferenceCopy(const Node& node, std::span<const TensorView> inputs, std::span<Tensor> outputs);

// out[i, j, ...] = in[begin + i * strides[0] + j * strides[1] + ...], in elements. For references.
void CopyStrided(const TensorView& in, int64_t begin, std::span<const int64_t> strides, Tensor& out);

// A step that brings elements from the layout of `src` to that of `dst`, which have one shape.
absl::StatusOr<StepMaker> TakePermute(const TensorSpec& src, const TensorSpec& dst);

// A box that goes from one of the node's inputs to one of its outputs.
struct BoxCopy {
  size_t input, output;
  StridedCopy copy;
};

// A step that copies boxes and reads nothing else.
StepMaker TakeBoxes(std::vector<BoxCopy> copies);

// For operators that ReferenceCopy defines: a view where no byte has to move.
std::vector<Offer> CopyOffers();

}  // namespace hachi
