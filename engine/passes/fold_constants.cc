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

// Of all results together, beside as much as the constants take that there are: a small file must not ask for
// the machine's memory. Guessed.
constexpr int64_t kMaxAllFoldedBytes = int64_t{256} << 20;

// Of products and windows together: some seconds. Guessed.
constexpr int64_t kMaxAllFoldedSteps = int64_t{1} << 31;

bool HasConstantInputs(const Node& node) {
  return !node.inputs.empty() && std::ranges::all_of(node.inputs, [](const Value* input) {
    return input == nullptr || input->is_constant();
  });
}

// What folding costs.
struct Cost {
  int64_t bytes = 0;  // of the results
  int64_t steps = 0;  // of a product or a window; the others' are about as many as elements
};

// nullopt: the node stays computed.
std::optional<Cost> CostOf(const Node& node) {
  Cost cost;
  int64_t made = 0;
  for (const Value* output : node.outputs) {
    const auto shape = ConstantShape(*output->dims);
    if (!shape || !CheckShape(*shape, SizeOf(output->dtype)).ok()) return std::nullopt;
    made += CountOf(*shape);
    const int64_t bytes = CountOf(*shape) * static_cast<int64_t>(SizeOf(output->dtype));
    // Stored integers are as many as their real numbers, which passes look at.
    if (node.op == "DequantizeLinear") continue;
    if (bytes > kMaxFoldedBytes) return std::nullopt;
    cost.bytes += bytes;
  }
  const OpDef& op = *FindOp(node.op);
  if (op.macs != nullptr) {
    WeightCache weights;
    cost.steps = op.macs({node, {}, /*threads=*/1, weights});
  } else if (const Shape& image = node.inputs[0]->constant->shape(); op.channels_last && image.size() > 2) {
    // No window holds more than an image of one channel.
    const int64_t window = CountOf(std::span(image).subspan(2));
    if (__builtin_mul_overflow(made, window, &cost.steps)) return std::nullopt;
  }
  return cost;
}

// Bytes of all constants.
int64_t ConstantBytes(const Graph& graph) {
  int64_t bytes = 0;
  for (const auto& [name, value] : graph.values())
    if (value->is_constant()) bytes += static_cast<int64_t>(value->constant->bytes().size());
  return bytes;
}

void Replace(Graph& graph, Value* value, Tensor tensor,
             std::shared_ptr<const ConstantIntegers> integers = nullptr) {
  Value* constant = graph.AddConstant(graph.UniqueValueName(absl::StrCat(value->name, "_folded")),
                                      std::make_shared<const Tensor>(std::move(tensor)));
  constant->integers = std::move(integers);
  constant->quant = value->quant;
  graph.ReplaceUses(value, constant);
}

}  // namespace

absl::Status FoldConstants(Graph& graph, const PassOptions& /*options*/) {
  Cost room = {.bytes = kMaxAllFoldedBytes + ConstantBytes(graph), .steps = kMaxAllFoldedSteps};
  for (Node* node : graph.NodeList()) {
    if (node->outputs.size() == 1) {
      if (auto known = KnownElements(*node->outputs[0])) {
        Replace(graph, node->outputs[0], *std::move(known));
        continue;
      }
    }
    if (!HasConstantInputs(*node)) continue;
    const auto cost = CostOf(*node);
    if (!cost || cost->bytes > room.bytes || cost->steps > room.steps) continue;
    room = {.bytes = room.bytes - cost->bytes, .steps = room.steps - cost->steps};
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
