#include "engine/ops/take.h"

#include "absl/strings/str_cat.h"

namespace hachi {

absl::Status CheckOneLayout(const TensorSpec& src, const TensorSpec& dst) {
  if (src.layout.SameBytes(dst.layout, src.shape)) return absl::OkStatus();
  return absl::UnimplementedError(
      absl::StrCat("input is ", src.layout.ToText(), ", expected ", dst.layout.ToText(), " as the output"));
}

absl::Status CheckRowMajor(const LowerContext& context, const Value* value) {
  const TensorSpec spec = context.Spec(value);
  if (spec.layout.SameBytes(Layout(), spec.shape)) return absl::OkStatus();
  return absl::UnimplementedError(
      absl::StrCat("'", value->name, "' is ", spec.layout.ToText(), ", expected row_major"));
}

absl::Status CheckNothingFused(const Node& node) {
  if (node.post_ops.empty()) return absl::OkStatus();
  return absl::UnimplementedError(
      absl::StrCat("operations are fused, '", ToText(node.post_ops.front()), "' the first, expected none"));
}

}  // namespace hachi
