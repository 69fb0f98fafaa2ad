#include "engine/ops/rows.h"

#include <vector>

#include "absl/strings/str_cat.h"
#include "engine/base/status_macros.h"

namespace hachi {

absl::Status MixesRows(size_t axis) {
  return absl::UnimplementedError(absl::StrCat("computes across axis ", axis, ", which holds rows"));
}

absl::StatusOr<RowAxis> OneRowAxis(std::span<const RowAxis> found) {
  RowAxis axis;
  for (const RowAxis& other : found) {
    if (axis && other && *axis != *other)
      return absl::UnimplementedError(
          absl::StrCat("has rows in axes ", *axis, " and ", *other, " of its result, expected one axis"));
    if (other) axis = other;
  }
  return axis;
}

absl::Status OnlyFirstHoldsRows(const RowQuery& query) {
  for (size_t i = 1; i < query.inputs.size(); ++i)
    if (query.inputs[i])
      return absl::UnimplementedError(absl::StrCat("input ", i, " ('", query.node.inputs[i]->name,
                                                   "') holds rows, expected the same for every row"));
  return absl::OkStatus();
}

absl::StatusOr<RowAxis> RowsMixed(const RowQuery& query) {
  for (const RowAxis& rows : query.inputs)
    if (rows) return MixesRows(*rows);
  return RowAxis();
}

absl::StatusOr<RowAxis> RowsOfElements(const RowQuery& query) {
  std::vector<RowAxis> found;
  for (size_t i = 0; i < query.inputs.size(); ++i) {
    if (!query.inputs[i]) continue;
    found.emplace_back(*query.inputs[i] + query.node.output()->rank() - query.node.inputs[i]->rank());
  }
  return OneRowAxis(found);
}

absl::StatusOr<RowAxis> RowsOfSameOrder(const RowQuery& query) {
  RETURN_IF_ERROR(OnlyFirstHoldsRows(query));
  if (!query.inputs[0]) return RowAxis();
  // As many elements before the rows' axis, and whole rows in it, mean as many elements in a row: each row is
  // where it was.
  const SymbolicShape &in = *query.node.inputs[0]->dims, &out = *query.node.output()->dims;
  Dim before(1), passed(1);
  for (size_t axis = 0; axis < *query.inputs[0]; ++axis) before = before * in[axis];
  for (size_t axis = 0; axis < out.size(); ++axis) {
    if (passed == before && out[axis].ExactQuotient(query.rows)) return RowAxis(axis);
    passed = passed * out[axis];
  }
  return absl::UnimplementedError(absl::StrCat("makes ", ShapeText(out), " of ", ShapeText(in),
                                               ", where rows of axis ", *query.inputs[0],
                                               " do not stay together"));
}

absl::StatusOr<RowAxis> RowsOfBatchAxis(const RowQuery& query) {
  RETURN_IF_ERROR(OnlyFirstHoldsRows(query));
  if (query.inputs[0] && *query.inputs[0] != 0) return MixesRows(*query.inputs[0]);
  return query.inputs[0];
}

absl::StatusOr<RowAxis> RowsOfRepeated(const RowQuery& query) {
  ASSIGN_OR_RETURN(const RowAxis kept, RowsOfElements(query));
  if (kept) return kept;
  const SymbolicShape& dims = *query.node.output()->dims;
  for (size_t axis = 0; axis < dims.size(); ++axis)
    if (dims[axis].ExactQuotient(query.rows)) return RowAxis(axis);
  return RowAxis();
}

}  // namespace hachi
