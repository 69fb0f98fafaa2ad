#include <algorithm>
#include <optional>

#include "absl/strings/str_cat.h"
#include "engine/passes/match.h"
#include "engine/passes/passes.h"

namespace hachi {
namespace {

// What a product's result has a bias for each index of.
struct Channels {
  int64_t count;
  size_t axis;  // of the result
};

// Those of a product of constant weights whose bias, if it has one, is a constant; nullopt: it is none such.
std::optional<Channels> ChannelsOf(const Node& product) {
  if (!product.post_ops.empty() || product.inputs.size() > 3) return std::nullopt;
  if (product.op != "MatMul" && product.op != "Conv" && product.op != "ConvTranspose") return std::nullopt;
  if (!product.inputs[1]->is_constant()) return std::nullopt;
  if (const Value* bias = product.input(2);
      bias != nullptr && (!bias->is_constant() || bias->dtype != DType::kF32))
    return std::nullopt;
  const Shape& weights = product.inputs[1]->constant->shape();
  if (product.op == "Conv") return Channels{weights[0], 1};
  if (product.op == "MatMul") {
    if (weights.size() != 2) return std::nullopt;
    return Channels{weights[1], product.output()->rank() - 1};
  }
  const auto groups = product.Int("group", 1);
  return groups.ok() ? std::optional(Channels{weights[1] * *groups, 1}) : std::nullopt;
}

// Whether the constant, added to a tensor of that rank, adds one number, or one to each channel.
bool IsBias(const Tensor& constant, const Channels& channels, size_t rank) {
  if (constant.count() == 1) return true;
  const Shape& shape = constant.shape();
  const size_t behind = rank - channels.axis;  // the channels' axis and those after it
  return constant.count() == channels.count && shape.size() >= behind &&
         shape[shape.size() - behind] == channels.count;
}

// The product's bias and what is added to it.
Value* AddBias(Graph& graph, const Node& product, Value* added, const Channels& channels) {
  const Value* bias = product.input(2);
  if (bias == nullptr && added->dims == SymbolicShape{Dim(channels.count)}) return added;
  auto sum = std::make_shared<Tensor>(DType::kF32, Shape{channels.count});
  const auto numbers = added->constant->As<float>();
  for (size_t c = 0; c < sum->As<float>().size(); ++c)
    sum->As<float>()[c] =
        numbers[numbers.size() == 1 ? 0 : c] + (bias == nullptr ? 0.0f : bias->constant->As<float>()[c]);
  return graph.AddConstant(graph.UniqueValueName(absl::StrCat(product.name, "_bias")), std::move(sum));
}

}  // namespace

absl::Status FuseBias(Graph& graph, const PassOptions& /*options*/) {
  for (Node* node : graph.NodeList()) {
    if (node->op != "Add" || !node->post_ops.empty()) continue;
    for (const size_t side : {0, 1}) {
      Value *result = node->inputs[side], *added = node->inputs[1 - side];
      Node* product = result->producer;
      if (product == nullptr || OnlyReader(graph, result, "Add") == nullptr) continue;
      const auto channels = ChannelsOf(*product);
      if (!channels || !added->is_constant() || added->dtype != DType::kF32) continue;
      if (result->dims != node->output()->dims || !IsBias(*added->constant, *channels, result->rank()))
        continue;
      graph.SetInput(product, 2, AddBias(graph, *product, added, *channels));
      Absorb(graph, product, node);
      break;
    }
  }
  return absl::OkStatus();
}

}  // namespace hachi
