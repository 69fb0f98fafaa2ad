#include <cmath>

#include "absl/strings/str_cat.h"
#include "engine/base/status_macros.h"
#include "engine/passes/match.h"
#include "engine/passes/passes.h"

namespace hachi {
namespace {

bool Folds(const Graph& graph, const Node& normalization) {
  const Value& x = *normalization.inputs[0];
  const Node* conv = MakerOf(&x, "Conv");
  if (conv == nullptr || OnlyReader(graph, &x, normalization.op) == nullptr) return false;
  for (const size_t i : {1, 2})
    if (const Value* parameter = conv->input(i); parameter != nullptr && !parameter->is_constant())
      return false;
  for (size_t i = 1; i < 5; ++i)
    if (!normalization.inputs[i]->is_constant()) return false;
  return true;
}

}  // namespace

// y = (conv(x) + bias - mean) * factor + beta with factor = gamma / sqrt(variance + epsilon), in double.
absl::Status FoldBatchNormalization(Graph& graph, const PassOptions& /*options*/) {
  for (Node* node : graph.NodeList()) {
    if (node->op != "BatchNormalization" || !Folds(graph, *node)) continue;
    Node* conv = node->inputs[0]->producer;
    ASSIGN_OR_RETURN(const float epsilon, node->Float("epsilon", 1e-5f));
    const auto parameter = [&](size_t i, int64_t c) {
      return static_cast<double>(node->inputs[i]->constant->As<float>()[static_cast<size_t>(c)]);
    };
    const Value* weights = conv->inputs[1];
    const Value* bias = conv->input(2);
    const int64_t channels = weights->constant->shape()[0];
    const int64_t inner = weights->constant->count() / std::max<int64_t>(channels, 1);
    Tensor new_weights(DType::kF32, weights->constant->shape());
    Tensor new_bias(DType::kF32, {channels});
    for (int64_t c = 0; c < channels; ++c) {
      const double factor = parameter(1, c) / std::sqrt(parameter(4, c) + static_cast<double>(epsilon));
      for (int64_t i = c * inner; i < (c + 1) * inner; ++i)
        new_weights.As<float>()[i] =
            static_cast<float>(static_cast<double>(weights->constant->As<float>()[i]) * factor);
      const double old_bias =
          bias == nullptr ? 0.0 : static_cast<double>(bias->constant->As<float>()[static_cast<size_t>(c)]);
      new_bias.As<float>()[c] = static_cast<float>((old_bias - parameter(3, c)) * factor + parameter(2, c));
    }
    const auto add = [&](const std::string& name, Tensor tensor) {
      return graph.AddConstant(graph.UniqueValueName(absl::StrCat(conv->name, name)),
                               std::make_shared<const Tensor>(std::move(tensor)));
    };
    graph.SetInput(conv, 1, add("_weights", std::move(new_weights)));
    graph.SetInput(conv, 2, add("_bias", std::move(new_bias)));
    Absorb(graph, conv, node);
  }
  return absl::OkStatus();
}

}  // namespace hachi
