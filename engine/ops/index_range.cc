#include "engine/ops/index_range.h"

#include <algorithm>

#include "engine/ops/op.h"

namespace hachi {

std::optional<IntegerRange> IndexRange(const Value& value) {
  std::optional<IntegerRange> range;
  const auto join = [&](const IntegerRange& other) {
    if (!range) range = other;
    range = {std::max(range->lowest, other.lowest), std::min(range->highest, other.highest)};
  };
  for (const Node* user : value.users) {
    const OpDef& op = *FindOp(user->op);
    if (op.index_input >= 0 && user->input(static_cast<size_t>(op.index_input)) == &value) {
      const Value& table = *user->inputs[0];
      const int64_t axis = *user->Int("axis", 0);
      const Dim& rows =
          (*table.dims)[axis < 0 ? static_cast<size_t>(axis) + table.rank() : static_cast<size_t>(axis)];
      if (const auto size = rows.constant()) join({-*size, *size - 1});
      continue;
    }
    const bool is_integer = user->output()->dtype == DType::kS32 || user->output()->dtype == DType::kS64;
    const bool passes_on = op.quantize == QuantRule::kKeepScale || op.passes_integers;
    if (!is_integer || !passes_on || user->inputs[0] != &value) continue;
    if (const auto behind = IndexRange(*user->output())) join(*behind);
  }
  return range;
}

}  // namespace hachi
