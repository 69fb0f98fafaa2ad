#pragma once

#include <functional>
#include <optional>
#include <span>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/graph/graph.h"

// What an operator does with the rows of a batch (OpDef::rows). A value holds rows along one axis, whose size
// is a multiple of their number: as many elements of it for each, one row's after the other's. Operators that
// treat rows alike share a rule.
namespace hachi {

// The axis along which a value holds rows; nullopt: it is the same for every row, and for any number of them.
using RowAxis = std::optional<size_t>;

struct RowQuery {
  const Node& node;                 // types and shapes inferred
  std::span<const RowAxis> inputs;  // of each input; nullopt also where it is left out, or OpDef::shape_input
  const Dim& rows;                  // the symbol that counts them
  size_t output = 0;                // the one asked for
};

// Where the output that is asked for holds rows, when each row of it is computed from the same row of the
// inputs alone. UNIMPLEMENTED, saying why, when that is not known.
using RowRule = std::function<absl::StatusOr<RowAxis>(const RowQuery& query)>;

// The error of a node that computes across an axis which holds rows.
absl::Status MixesRows(size_t axis);

// Where the outputs hold rows when input `i` brings them to axis found[i]. UNIMPLEMENTED where two differ.
absl::StatusOr<RowAxis> OneRowAxis(std::span<const RowAxis> found);

// OK where no input but the first holds rows.
absl::Status OnlyFirstHoldsRows(const RowQuery& query);

// What takes no rows: it mixes those that it is given.
absl::StatusOr<RowAxis> RowsMixed(const RowQuery& query);

// Element by element, inputs broadcast to the output.
absl::StatusOr<RowAxis> RowsOfElements(const RowQuery& query);

// The elements of input 0 in row-major order, with other dimensions.
absl::StatusOr<RowAxis> RowsOfSameOrder(const RowQuery& query);

// What takes a batch in axis 0 by its own definition, and parameters in further inputs: convolution, pooling.
absl::StatusOr<RowAxis> RowsOfBatchAxis(const RowQuery& query);

// Elements of input 0 (or none), repeated to dimensions that inference knows: each row's are the same.
absl::StatusOr<RowAxis> RowsOfRepeated(const RowQuery& query);

}  // namespace hachi
