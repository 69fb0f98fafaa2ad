#include "engine/ops/quantizers.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "engine/base/status_macros.h"
#include "engine/ops/infer.h"
#include "engine/ops/quantized.h"

namespace hachi {

bool HasComputedScale(const Node& node) {
  return !node.inputs[1]->is_constant() || (node.input(2) != nullptr && !node.inputs[2]->is_constant());
}

absl::Status CheckComputedScale(const Node& node, DType dtype) {
  RETURN_IF_ERROR(CheckInputType(node, 1, {DType::kF32}));
  RETURN_IF_ERROR(CheckRank(node, 1, 0, 1));
  const SymbolicShape& scale = *node.inputs[1]->dims;
  if (node.input(2) != nullptr) {
    RETURN_IF_ERROR(CheckInputType(node, 2, {dtype}));
    const bool one_each = CountOf(scale) == Dim(1) && CountOf(*node.inputs[2]->dims) == Dim(1);
    if (*node.inputs[2]->dims != scale && !one_each)
      return absl::InvalidArgumentError(absl::StrCat("scale has shape ", ShapeText(scale), " and zero point ",
                                                     ShapeText(*node.inputs[2]->dims),
                                                     ", expected one shape"));
  }
  if (CountOf(scale) == Dim(1)) return absl::OkStatus();
  ASSIGN_OR_RETURN(const int64_t attr, node.Int("axis", 1));
  ASSIGN_OR_RETURN(const size_t axis, CheckAxis(attr, node.inputs[0]->rank()));
  if ((*node.inputs[0]->dims)[axis] == scale[0]) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(scale[0].ToText(), " scales, expected ",
                                                 (*node.inputs[0]->dims)[axis].ToText(),
                                                 ", the size of axis ", axis));
}

absl::StatusOr<int64_t> BlockSizeOf(const Node& node) {
  // A scale of one element is for all of them.
  ASSIGN_OR_RETURN(const int64_t block_size, node.Int("block_size", 0));
  return node.inputs[1]->rank() == 0 ? 0 : block_size;
}

absl::Status CheckBlocks(const Node& node, DType dtype) {
  ASSIGN_OR_RETURN(const int64_t block_size, BlockSizeOf(node));
  ASSIGN_OR_RETURN(const int64_t attr, node.Int("axis", 1));
  ASSIGN_OR_RETURN(const size_t axis, CheckAxis(attr, node.inputs[0]->rank()));
  RETURN_IF_ERROR(CheckInputType(node, 1, {DType::kF32}));
  if (node.input(2) != nullptr) RETURN_IF_ERROR(CheckInputType(node, 2, {dtype}));
  SymbolicShape expected = *node.inputs[0]->dims;
  expected[axis] = Dim::FloorDiv(expected[axis] + Dim(block_size - 1), block_size);
  for (const size_t i : {1, 2})
    if (node.input(i) != nullptr && *node.inputs[i]->dims != expected)
      return absl::InvalidArgumentError(absl::StrCat("'", node.inputs[i]->name, "' has shape ",
                                                     ShapeText(*node.inputs[i]->dims), ", expected ",
                                                     ShapeText(expected), " for blocks of ", block_size));
  return absl::OkStatus();
}

absl::StatusOr<QuantParams> ReadQuantParams(const Node& node, DType dtype) {
  ASSIGN_OR_RETURN(const int64_t block_size, BlockSizeOf(node));
  if (block_size > 0)
    return absl::UnimplementedError(absl::StrCat("block_size is ", block_size, ", expected 0"));
  const Value &x = *node.inputs[0], &scale = *node.inputs[1];
  const Value* zero_point = node.input(2);
  if (!scale.is_constant() || (zero_point != nullptr && !zero_point->is_constant()))
    return absl::UnimplementedError("scale or zero point is computed, expected constants");
  RETURN_IF_ERROR(CheckInputType(node, 1, {DType::kF32}));
  RETURN_IF_ERROR(CheckRank(node, 1, 0, 1));
  if (zero_point != nullptr) {
    RETURN_IF_ERROR(CheckInputType(node, 2, {dtype}));
    if (zero_point->constant->count() != scale.constant->count())
      return absl::InvalidArgumentError(absl::StrCat(zero_point->constant->count(),
                                                     " zero points, expected one for each of ",
                                                     scale.constant->count(), " scales"));
  }
  QuantParams quant{{}, {}, -1};
  for (const float s : scale.constant->As<float>()) {
    if (!(s > 0) || !std::isfinite(s))
      return absl::InvalidArgumentError(absl::StrCat("a scale is ", s, ", expected a positive number"));
    quant.scales.push_back(s);
    quant.zero_points.push_back(zero_point == nullptr ? 0
                                                      : static_cast<int32_t>(IntegerAt(
                                                            zero_point->constant->view(),
                                                            static_cast<int64_t>(quant.zero_points.size()))));
  }
  // One scale is one for the tensor, also where it is written as a vector of one.
  if (quant.scales.size() == 1) return quant;
  ASSIGN_OR_RETURN(const int64_t attr, node.Int("axis", 1));
  ASSIGN_OR_RETURN(const size_t axis, CheckAxis(attr, x.rank()));
  const Dim& channels = (*x.dims)[axis];
  if (channels != Dim(static_cast<int64_t>(quant.scales.size())))
    return absl::InvalidArgumentError(absl::StrCat(quant.scales.size(), " scales, expected ",
                                                   channels.ToText(), ", the size of axis ", axis));
  quant.axis = static_cast<int>(axis);
  return quant;
}

absl::StatusOr<ElementQuants> ElementQuants::Of(const Node& node, std::span<const TensorView> inputs) {
  ElementQuants quants;
  quants.scales_ = inputs[1].As<float>();
  if (node.input(2) != nullptr) quants.zero_points_ = &inputs[2];
  ASSIGN_OR_RETURN(const int64_t block_size, BlockSizeOf(node));
  if (block_size <= 0 && quants.scales_.size() == 1) return quants;
  ASSIGN_OR_RETURN(const int64_t attr, node.Int("axis", 1));
  ASSIGN_OR_RETURN(const size_t axis, CheckAxis(attr, inputs[0].shape.size()));
  quants.step_ = CountOf(inputs[0].shape.subspan(axis + 1));
  quants.block_size_ = std::max<int64_t>(block_size, 0);
  quants.length_ = inputs[0].shape[axis];
  return quants;
}

}  // namespace hachi
