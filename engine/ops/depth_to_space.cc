// DepthToSpace (ONNX opset 13) and SpaceToDepth: squares of pixels to channels and back.
#include <cstring>
#include <vector>

#include "absl/strings/str_cat.h"
#include "engine/base/status_macros.h"
#include "engine/ops/copy.h"
#include "engine/ops/infer.h"

namespace hachi {
namespace {

struct Block {
  int64_t size;
  bool columns_first;  // a channel counts from the block's pixels, then from the deep image's channels (DCR)
};

absl::StatusOr<Block> BlockOf(const Node& node) {
  Block block{};
  ASSIGN_OR_RETURN(block.size, node.Int("blocksize", 0));
  if (block.size < 1 || block.size > 1 << 10)
    return absl::InvalidArgumentError(absl::StrCat("blocksize is ", block.size, ", expected 1 to 1024"));
  ASSIGN_OR_RETURN(const std::string mode, node.String("mode", "DCR"));
  if (mode != "DCR" && mode != "CRD")
    return absl::InvalidArgumentError(absl::StrCat("mode is '", mode, "', expected DCR or CRD"));
  block.columns_first = mode == "DCR";
  return block;
}

absl::StatusOr<Dim> Quotient(const Dim& dim, int64_t divisor) {
  const auto quotient = dim.ExactQuotient(Dim(divisor));
  if (quotient) return *quotient;
  return absl::InvalidArgumentError(
      absl::StrCat("a dimension is ", dim.ToText(), ", expected a multiple of ", divisor));
}

absl::Status Infer(Node& node, bool to_space) {
  RETURN_IF_ERROR(CheckInputCount(node, 1, 1));
  RETURN_IF_ERROR(CheckRank(node, 0, 4, 4));
  ASSIGN_OR_RETURN(const Block block, BlockOf(node));
  const Dim size(block.size), area(block.size * block.size);
  SymbolicShape dims = *node.inputs[0]->dims;
  if (to_space) {
    ASSIGN_OR_RETURN(dims[1], Quotient(dims[1], block.size * block.size));
    dims[2] = dims[2] * size;
    dims[3] = dims[3] * size;
  } else {
    dims[1] = dims[1] * area;
    ASSIGN_OR_RETURN(dims[2], Quotient(dims[2], block.size));
    ASSIGN_OR_RETURN(dims[3], Quotient(dims[3], block.size));
  }
  return SetOutputLike(node, std::move(dims));
}

absl::Status Reference(const Node& node, std::span<const TensorView> inputs, std::span<Tensor> outputs,
                       bool to_space) {
  ASSIGN_OR_RETURN(const Block block, BlockOf(node));
  const int64_t size = block.size;
  const std::span<const int64_t> in = inputs[0].shape, out = outputs[0].shape();
  const std::span<const int64_t> flat = to_space ? out : in, deep = to_space ? in : out;
  const auto bytes = static_cast<int64_t>(SizeOf(inputs[0].dtype));
  for (int64_t i = 0; i < outputs[0].count(); ++i) {
    const int64_t w = i % out[3], h = i / out[3] % out[2], c = i / (out[3] * out[2]) % out[1],
                  n = i / (out[3] * out[2] * out[1]);
    int64_t from = 0;
    if (to_space) {
      const int64_t pixel = h % size * size + w % size;
      const int64_t channel = block.columns_first ? pixel * flat[1] + c : c * size * size + pixel;
      from = ((n * deep[1] + channel) * deep[2] + h / size) * deep[3] + w / size;
    } else {
      const int64_t pixel = c / flat[1];
      from = ((n * flat[1] + c % flat[1]) * flat[2] + h * size + pixel / size) * flat[3] + w * size +
             pixel % size;
    }
    std::memcpy(outputs[0].bytes().data() + i * bytes, inputs[0].bytes + from * bytes,
                static_cast<size_t>(bytes));
  }
  return absl::OkStatus();
}

// One box over images, channels, and rows and columns of pixels and of blocks.
absl::StatusOr<StepMaker> Take(const LowerContext& context, bool to_space) {
  ASSIGN_OR_RETURN(const Block block, BlockOf(context.node));
  const TensorSpec src = context.Input(0), dst = context.Output();
  const TensorSpec &deep = to_space ? src : dst, &flat = to_space ? dst : src;
  const auto d = deep.layout.StridesOf(deep.shape), f = flat.layout.StridesOf(flat.shape);
  const int64_t size = block.size, channels = flat.shape[1];
  const int64_t pixel = block.columns_first ? channels * d[1] : d[1];
  const int64_t channel = block.columns_first ? d[1] : size * size * d[1];
  const Shape box{flat.shape[0], channels, deep.shape[2], size, deep.shape[3], size};
  const std::vector<int64_t> deep_strides{d[0], channel, d[2], size * pixel, d[3], pixel};
  const std::vector<int64_t> flat_strides{f[0], f[1], size * f[2], f[2], size * f[3], f[3]};
  return TakeBoxes({{0, 0,
                     StridedCopy(box, 0, to_space ? deep_strides : flat_strides, 0,
                                 to_space ? flat_strides : deep_strides, SizeOf(src.dtype))}});
}

OpDef Member(std::string_view name, bool to_space) {
  return {.name = name,
          .infer = [=](Node& node) { return Infer(node, to_space); },
          .quantize = QuantRule::kKeepScale,
          .rows = RowsOfBatchAxis,
          .reference = [=](const Node& node, std::span<const TensorView> inputs,
                           std::span<Tensor> outputs) { return Reference(node, inputs, outputs, to_space); },
          .offers = {{.name = "hachi_copy",
                      .take = [=](const LowerContext& context) { return Take(context, to_space); }}},
          .layout_agnostic = true};
}

}  // namespace

std::span<const OpDef> depth_to_space_ops() {
  static const OpDef defs[] = {Member("DepthToSpace", true), Member("SpaceToDepth", false)};
  return defs;
}

}  // namespace hachi
