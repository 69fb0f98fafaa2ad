// Tile (ONNX opset 13): input 0 repeated along each axis as often as input 1 says.
#include <vector>

#include "absl/strings/str_cat.h"
#include "engine/base/status_macros.h"
#include "engine/ops/infer.h"
#include "engine/ops/mapped_copy.h"
#include "engine/ops/op.h"

namespace hachi {
namespace {

// How often each axis is repeated; that of opset 1 names one axis.
absl::StatusOr<SymbolicShape> RepeatsOf(const Node& node) {
  const size_t rank = node.inputs[0]->rank();
  const auto repeats = ContentOf(*node.inputs[1]);
  if (!repeats)
    return absl::UnimplementedError(
        absl::StrCat("the repeats '", node.inputs[1]->name,
                     "' are computed from more than dimensions, expected known ones"));
  if (!node.attrs.contains("axis")) {
    if (repeats->size() != rank)
      return absl::InvalidArgumentError(absl::StrCat(repeats->size(), " repeats, expected ", rank));
    return *repeats;
  }
  ASSIGN_OR_RETURN(const int64_t written, node.Int("axis", 0));
  ASSIGN_OR_RETURN(const size_t axis, CheckAxis(written, rank));
  SymbolicShape one(rank, Dim(1));
  one[axis] = repeats->at(0);
  return one;
}

absl::Status Infer(Node& node) {
  RETURN_IF_ERROR(CheckInputCount(node, 2, 2));
  RETURN_IF_ERROR(CheckInputType(node, 1, {DType::kS64}));
  RETURN_IF_ERROR(CheckRank(node, 1, 1, 1));
  ASSIGN_OR_RETURN(const SymbolicShape repeats, RepeatsOf(node));
  SymbolicShape dims = *node.inputs[0]->dims;
  for (size_t axis = 0; axis < dims.size(); ++axis) {
    if (const auto number = repeats[axis].constant(); number && *number < 0)
      return absl::InvalidArgumentError(absl::StrCat("repeats axis ", axis, " ", *number, " times"));
    dims[axis] = dims[axis] * repeats[axis];
  }
  return SetOutputLike(node, std::move(dims));
}

absl::Status Reference(const Node& /*node*/, std::span<const TensorView> inputs, std::span<Tensor> outputs) {
  const TensorView& x = inputs[0];
  Tensor& y = outputs[0];
  const auto bytes = static_cast<int64_t>(SizeOf(x.dtype));
  for (int64_t i = 0; i < y.count(); ++i) {
    int64_t from = 0, stride = 1, rest = i;
    for (size_t axis = x.shape.size(); axis-- > 0; rest /= y.shape()[axis], stride *= x.shape[axis])
      from += rest % y.shape()[axis] % x.shape[axis] * stride;
    std::copy_n(x.bytes + from * bytes, bytes, y.bytes().data() + i * bytes);
  }
  return absl::OkStatus();
}

absl::StatusOr<StepMaker> Take(const LowerContext& context) {
  const TensorSpec src = context.Input(0), dst = context.Output();
  AxisMaps maps(src.shape.size());
  for (size_t axis = 0; axis < maps.size(); ++axis)
    for (int64_t i = 0; i < dst.shape[axis]; ++i) maps[axis].push_back(i % src.shape[axis]);
  return TakeMapped(context, maps, std::vector<std::byte>(SizeOf(src.dtype)));
}

// Repeated rows would lie behind each other.
absl::StatusOr<RowAxis> RowsOfTile(const RowQuery& query) {
  RETURN_IF_ERROR(OnlyFirstHoldsRows(query));
  ASSIGN_OR_RETURN(const SymbolicShape repeats, RepeatsOf(query.node));
  const RowAxis rows = query.inputs[0];
  if (rows && repeats[*rows] != Dim(1)) return MixesRows(*rows);
  return rows ? rows : RowsOfRepeated(query);
}

}  // namespace

std::span<const OpDef> tile_ops() {
  static const OpDef defs[] = {{.name = "Tile",
                                .infer = Infer,
                                .quantize = QuantRule::kKeepScale,
                                .rows = RowsOfTile,
                                .shape_input = 1,
                                .reference = Reference,
                                .offers = {{.name = "hachi_mapped_copy", .take = Take}},
                                .layout_agnostic = true}};
  return defs;
}

}  // namespace hachi
