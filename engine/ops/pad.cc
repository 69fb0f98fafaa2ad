// Pad (ONNX opset 21): pads of all axes' fronts, then of their ends, are input 1, the value of `constant`
// input 2, the axes that pads names input 3. Negative pads cut.
#include <algorithm>
#include <cstring>
#include <vector>

#include "absl/strings/str_cat.h"
#include "engine/base/status_macros.h"
#include "engine/ops/infer.h"
#include "engine/ops/mapped_copy.h"
#include "engine/ops/op.h"
#include "engine/ops/quantized.h"
#include "engine/ops/take.h"

namespace hachi {
namespace {

constexpr int64_t kMaxPad = 1 << 20;

struct Pads {
  AxisNumbers front, end;
};

absl::StatusOr<Pads> PadsOf(const Node& node) {
  const size_t rank = node.inputs[0]->rank();
  ASSIGN_OR_RETURN(const AxisNumbers pads, KnownInts(node, 1, "pads"));
  AxisNumbers axes;
  if (node.input(3) != nullptr) {
    ASSIGN_OR_RETURN(axes, KnownInts(node, 3, "axes"));
  } else {
    for (size_t axis = 0; axis < rank; ++axis) axes.push_back(static_cast<int64_t>(axis));
  }
  if (pads.size() != 2 * axes.size())
    return absl::InvalidArgumentError(
        absl::StrCat(pads.size(), " pads, expected two for each of ", axes.size(), " axes"));
  Pads of{AxisNumbers(rank, 0), AxisNumbers(rank, 0)};
  for (size_t i = 0; i < axes.size(); ++i) {
    ASSIGN_OR_RETURN(const size_t axis, CheckAxis(axes[i], rank));
    of.front[axis] = pads[i];
    of.end[axis] = pads[i + axes.size()];
  }
  for (const auto* list : {&of.front, &of.end})
    for (const int64_t pad : *list)
      if (pad < -kMaxPad || pad > kMaxPad)
        return absl::InvalidArgumentError(
            absl::StrCat("a pad is ", pad, ", expected ", -kMaxPad, " to ", kMaxPad));
  return of;
}

absl::StatusOr<std::string> ModeOf(const Node& node) {
  auto mode = node.String("mode", "constant");
  RETURN_IF_ERROR(mode.status());
  if (*mode != "constant" && *mode != "reflect" && *mode != "edge" && *mode != "wrap")
    return absl::InvalidArgumentError(
        absl::StrCat("mode is '", *mode, "', expected constant, reflect, edge or wrap"));
  return mode;
}

absl::Status Infer(Node& node) {
  RETURN_IF_ERROR(CheckInputCount(node, 2, 4));
  RETURN_IF_ERROR(ModeOf(node).status());
  ASSIGN_OR_RETURN(const Pads pads, PadsOf(node));
  if (const Value* value = node.input(2); value != nullptr && !value->is_constant())
    return absl::UnimplementedError(
        absl::StrCat("the value '", value->name, "' is computed, expected a constant"));
  if (node.input(2) != nullptr) RETURN_IF_ERROR(CheckElementCount(node, 2, 1));
  SymbolicShape dims = *node.inputs[0]->dims;
  for (size_t axis = 0; axis < dims.size(); ++axis) {
    dims[axis] = dims[axis] + Dim(pads.front[axis] + pads.end[axis]);
    if (const auto number = dims[axis].constant(); number && *number < 0)
      return absl::InvalidArgumentError(absl::StrCat("pads cut axis ", axis, " to ", *number, " elements"));
  }
  return SetOutputLike(node, std::move(dims));
}

// Where each element of an axis comes from.
absl::StatusOr<std::vector<int64_t>> MapOf(const std::string& mode, int64_t size, int64_t front,
                                           int64_t length) {
  std::vector<int64_t> map;
  for (int64_t i = 0; i < length; ++i) {
    int64_t from = i - front;
    const bool inside = from >= 0 && from < size;
    if (!inside && mode == "constant") {
      map.push_back(kFilled);
      continue;
    }
    if (!inside && size == 0)
      return absl::InvalidArgumentError(
          absl::StrCat("pads an empty axis by mode '", mode, "', expected elements"));
    if (mode == "edge") from = std::clamp<int64_t>(from, 0, size - 1);
    if (mode == "wrap") from = (from % size + size) % size;
    if (mode == "reflect" && size == 1) from = 0;
    if (mode == "reflect" && size > 1) {
      const int64_t period = 2 * (size - 1), at = (from % period + period) % period;
      from = at < size ? at : period - at;
    }
    map.push_back(from);
  }
  return map;
}

absl::StatusOr<AxisMaps> MapsOf(const Node& node, std::span<const int64_t> in, std::span<const int64_t> out) {
  ASSIGN_OR_RETURN(const std::string mode, ModeOf(node));
  ASSIGN_OR_RETURN(const Pads pads, PadsOf(node));
  AxisMaps maps(in.size());
  for (size_t axis = 0; axis < in.size(); ++axis) {
    ASSIGN_OR_RETURN(maps[axis], MapOf(mode, in[axis], pads.front[axis], out[axis]));
  }
  return maps;
}

// What `constant` fills with, as an element of the output.
std::vector<std::byte> FillOf(const Node& node) {
  const Value& output = *node.outputs[0];
  Tensor fill(output.dtype, {1});
  const Value* value = node.input(2);
  if (value != nullptr && value->constant->count() > 0 && value->dtype == output.dtype && !output.quant) {
    std::memcpy(fill.bytes().data(), value->constant->bytes().data(), fill.bytes().size());
  } else {
    const bool given = value != nullptr && value->constant->count() > 0;
    StoreReal(fill, 0, given ? RealAt(value->constant->view(), 0, std::nullopt) : 0.0f, output.quant);
  }
  return {fill.bytes().begin(), fill.bytes().end()};
}

absl::Status Reference(const Node& node, std::span<const TensorView> inputs, std::span<Tensor> outputs) {
  ASSIGN_OR_RETURN(const AxisMaps maps, MapsOf(node, inputs[0].shape, outputs[0].shape()));
  CopyMapped(inputs[0], maps, FillOf(node), outputs[0]);
  return absl::OkStatus();
}

absl::StatusOr<StepMaker> Take(const LowerContext& context) {
  const Shape in = context.Input(0).shape, out = context.Output().shape;
  ASSIGN_OR_RETURN(const AxisMaps maps, MapsOf(context.node, in, out));
  return TakeMapped(context, maps, FillOf(context.node));
}

absl::StatusOr<RowAxis> RowsOfPad(const RowQuery& query) {
  RETURN_IF_ERROR(OnlyFirstHoldsRows(query));
  ASSIGN_OR_RETURN(const Pads pads, PadsOf(query.node));
  const RowAxis rows = query.inputs[0];
  if (rows && (pads.front[*rows] != 0 || pads.end[*rows] != 0)) return MixesRows(*rows);
  return rows;
}

}  // namespace

std::span<const OpDef> pad_ops() {
  static const OpDef defs[] = {{.name = "Pad",
                                .infer = Infer,
                                .quantize = QuantRule::kKeepScale,
                                .rows = RowsOfPad,
                                .reference = Reference,
                                .offers = {{.name = "hachi_mapped_copy", .take = Take}},
                                .layout_agnostic = true}};
  return defs;
}

}  // namespace hachi
