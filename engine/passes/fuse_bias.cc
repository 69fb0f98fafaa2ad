#include "absl/strings/str_cat.h"
#include "engine/passes/match.h"
#include "engine/passes/passes.h"

namespace hachi {
namespace {

// The product's bias and what is added to it.
Value* AddBias(Graph& graph, const Node& product, Value* added, int64_t channels) {
  const Value* bias = product.input(2);
  if (bias == nullptr && added->dims == SymbolicShape{Dim(channels)}) return added;
  auto sum = std::make_shared<Tensor>(DType::kF32, Shape{channels});
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
      if (!channels || result->dims != node->output()->dims) continue;
      if (!IsByChannel(*added, channels->count, channels->axis, result->rank())) continue;
      graph.SetInput(product, 2, AddBias(graph, *product, added, channels->count));
      Absorb(graph, product, node);
      break;
    }
  }
  return absl::OkStatus();
}

}  // namespace hachi
