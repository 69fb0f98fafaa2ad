#include <cmath>
#include <vector>

#include "absl/strings/str_cat.h"
#include "engine/base/status_macros.h"
#include "engine/passes/integers.h"
#include "engine/passes/match.h"
#include "engine/passes/passes.h"

namespace hachi {
namespace {

// The convolution in front of it, of either kind; null: there is none.
Node* ConvolutionOf(const Node& normalization) {
  Node* conv = MakerOf(normalization.inputs[0], "Conv");
  return conv != nullptr ? conv : MakerOf(normalization.inputs[0], "ConvTranspose");
}

bool Folds(const Graph& graph, const Node& normalization) {
  const Value& x = *normalization.inputs[0];
  const Node* conv = ConvolutionOf(normalization);
  if (conv == nullptr || OnlyReader(graph, &x, normalization.op) == nullptr) return false;
  for (const size_t i : {1, 2})
    if (const Value* parameter = conv->input(i); parameter != nullptr && !parameter->is_constant())
      return false;
  for (size_t i = 1; i < 5; ++i)
    if (!normalization.inputs[i]->is_constant()) return false;
  return true;
}

// Weights of a transposed convolution, [IC, OC / groups, ...], times a factor for each output channel.
Value* AddScaledByGroup(Graph& graph, const Value& weights, const std::string& name,
                        const std::vector<double>& factors, int64_t groups) {
  const Tensor& from = *weights.constant;
  const Shape& shape = from.shape();
  const int64_t pixels = CountOf(std::span(shape).subspan(2));
  auto scaled = std::make_shared<Tensor>(DType::kF32, shape);
  for (int64_t i = 0; i < from.count(); ++i) {
    const int64_t group = i / (shape[1] * pixels) / (shape[0] / groups);
    const double factor = factors[static_cast<size_t>(group * shape[1] + i / pixels % shape[1])];
    scaled->As<float>()[i] = static_cast<float>(static_cast<double>(from.As<float>()[i]) * factor);
  }
  return graph.AddConstant(graph.UniqueValueName(name), std::move(scaled));
}

}  // namespace

// y = (conv(x) + bias - mean) * factor + beta with factor = gamma / sqrt(variance + epsilon), in double.
absl::Status FoldBatchNormalization(Graph& graph, const PassOptions& /*options*/) {
  for (Node* node : graph.NodeList()) {
    if (node->op != "BatchNormalization" || !Folds(graph, *node)) continue;
    Node* conv = ConvolutionOf(*node);
    ASSIGN_OR_RETURN(const float epsilon, node->Float("epsilon", 1e-5f));
    const auto parameter = [&](size_t i, int64_t c) {
      return static_cast<double>(node->inputs[i]->constant->As<float>()[static_cast<size_t>(c)]);
    };
    const Value* weights = conv->inputs[1];
    const Value* bias = conv->input(2);
    const Shape& shape = weights->constant->shape();
    ASSIGN_OR_RETURN(const int64_t groups, conv->Int("group", 1));
    const bool transposed = conv->op == "ConvTranspose";
    const int64_t channels = transposed ? shape[1] * groups : shape[0];
    Tensor new_bias(DType::kF32, {channels});
    std::vector<double> factors;
    for (int64_t c = 0; c < channels; ++c) {
      const double factor = parameter(1, c) / std::sqrt(parameter(4, c) + static_cast<double>(epsilon));
      factors.push_back(factor);
      const double old_bias =
          bias == nullptr ? 0.0 : static_cast<double>(bias->constant->As<float>()[static_cast<size_t>(c)]);
      new_bias.As<float>()[c] = static_cast<float>((old_bias - parameter(3, c)) * factor + parameter(2, c));
    }
    const std::string weights_name = absl::StrCat(conv->name, "_weights");
    graph.SetInput(conv, 1,
                   transposed ? AddScaledByGroup(graph, *weights, weights_name, factors, groups)
                              : AddScaled(graph, *weights, weights_name, factors, 0));
    graph.SetInput(conv, 2,
                   graph.AddConstant(graph.UniqueValueName(absl::StrCat(conv->name, "_bias")),
                                     std::make_shared<const Tensor>(std::move(new_bias))));
    Absorb(graph, conv, node);
  }
  return absl::OkStatus();
}

}  // namespace hachi
