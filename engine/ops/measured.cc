#include "engine/ops/measured.h"

#include <vector>

#include "absl/strings/str_cat.h"
#include "engine/base/status_macros.h"
#include "engine/ops/infer.h"

namespace hachi {

bool IsMeasured(const Node& node) { return node.attrs.contains(std::string(kMeasured)); }

absl::StatusOr<Dim> MeasuredDim(const Node& node, const Dim& most,
                                absl::FunctionRef<int64_t(std::span<const TensorView>)> count) {
  if (IsMeasured(node)) return most;
  std::vector<TensorView> inputs;
  for (const Value* input : node.inputs) {
    if (input != nullptr && !input->is_constant())
      return absl::UnimplementedError(
          absl::StrCat("how many elements it finds in '", input->name, "' shows only in a run"));
    inputs.push_back(input == nullptr ? TensorView() : input->constant->view());
  }
  return Dim(count(inputs));
}

absl::Status InferCount(Node& node, size_t least, size_t most) {
  const bool measured = IsMeasured(node);
  const size_t outputs = node.outputs.size() - (measured ? 1 : 0);
  if (outputs < least || outputs > most)
    return absl::InvalidArgumentError(
        absl::StrCat(outputs, " outputs, expected ", least == most ? "" : absl::StrCat(least, " to "), most));
  if (measured) {
    node.outputs.back()->dtype = DType::kS64;
    node.outputs.back()->dims = SymbolicShape();
  }
  return absl::OkStatus();
}

absl::StatusOr<std::optional<size_t>> OptionalAxis(const Node& node) {
  if (!node.attrs.contains("axis")) return std::optional<size_t>();
  ASSIGN_OR_RETURN(const int64_t axis, node.Int("axis", 0));
  ASSIGN_OR_RETURN(const size_t found, CheckAxis(axis, node.inputs[0]->rank()));
  return std::optional(found);
}

void StoreCount(const Node& node, int64_t count, std::span<Tensor> outputs) {
  if (IsMeasured(node)) outputs.back().As<int64_t>()[0] = count;
}

}  // namespace hachi
