#include <algorithm>
#include <optional>

#include "absl/strings/str_cat.h"
#include "engine/base/status_macros.h"
#include "engine/ops/infer.h"
#include "engine/ops/op.h"
#include "engine/passes/integers.h"
#include "engine/passes/passes.h"

namespace hachi {
namespace {

// Larger results stay computed: they would cost more memory than time. Guessed.
constexpr int64_t kMaxFoldedBytes = int64_t{64} << 20;

bool HasConstantInputs(const Node& node) {
  return !node.inputs.empty() && std::ranges::all_of(node.inputs, [](const Value* input) {
    return input == nullptr || input->is_constant();
  });
}

bool FitsFolded(const Node& node) {
  // Stored integers are as many as their real numbers, which passes look at.
  if (node.op == "DequantizeLinear") return true;
  return std::ranges::all_of(node.outputs, [](const Value* output) {
    const auto shape = ConstantShape(*output->dims);
    if (!shape) return false;
    const auto count = CheckedCount(*shape, SizeOf(output->dtype));
    return count.ok() && *count * static_cast<int64_t>(SizeOf(output->dtype)) <= kMaxFoldedBytes;
  });
}

void Replace(Graph& graph, Value* value, Tensor tensor,
             std::shared_ptr<const ConstantIntegers> integers = nullptr) {
  Value* constant = graph.AddConstant(graph.UniqueValueName(absl::StrCat(value->name, "_folded")),
                                      std::make_shared<const Tensor>(std::move(tensor)));
  constant->integers = std::move(integers);
  graph.ReplaceUses(value, constant);
}

}  // namespace

absl::Status FoldConstants(Graph& graph, const PassOptions& /*options*/) {
  for (Node* node : graph.NodeList()) {
    if (node->outputs.size() == 1) {
      if (auto known = KnownElements(*node->outputs[0])) {
        Replace(graph, node->outputs[0], *std::move(known));
        continue;
      }
    }
    if (!HasConstantInputs(*node) || !FitsFolded(*node)) continue;
    std::vector<TensorView> inputs;
    for (const Value* input : node->inputs)
      inputs.push_back(input == nullptr ? TensorView{} : input->constant->view());
    ASSIGN_OR_RETURN(std::vector<Tensor> outputs, RunReference(*node, inputs, Bindings{}));
    auto integers = node->op == "DequantizeLinear" ? IntegersOf(*node) : MovedIntegers(*node);
    for (size_t i = 0; i < outputs.size(); ++i)
      Replace(graph, node->outputs[i], std::move(outputs[i]), std::move(integers));
  }
  return absl::OkStatus();
}

}  // namespace hachi
