#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/graph/graph.h"
#include "engine/kernels/gather.h"
#include "engine/tensor/input_options.h"

// How rows get into a graph and out of it: what serving and calibration ask in the same way.
namespace hachi {

// The symbol that counts rows, the first dimension of the graph's inputs; nullopt: it takes whole tensors.
std::optional<Dim> RowsSymbol(const Graph& graph);

// So many rows, or a whole tensor.
Bindings BindRows(const std::optional<Dim>& rows, int64_t count);

// One row of a tensor of these dimensions, or the whole one. UNIMPLEMENTED, naming `what` ("input 'x'"),
// where it does not begin with the rows or another dimension is symbolic.
absl::StatusOr<Shape> RowShape(const std::string& what, const SymbolicShape& dims,
                               const std::optional<Dim>& rows);

// INVALID_ARGUMENT where a name is not that of an input.
absl::Status CheckInputNames(const Graph& graph, const std::map<std::string, InputOptions>& inputs);

// A row as clients send it.
Shape ClientRowShape(Shape row_shape, const InputOptions& client);

// The value's layout with an axis of rows in front, also where the tensor has none.
Layout LayoutOfRows(const Value& value, bool batched);

// What brings rows from clients to a graph input, as the passes have left that. Errors name the input.
absl::StatusOr<Gather> MakeGather(const Value& input, const Shape& row_shape, const InputOptions& client,
                                  bool batched);

}  // namespace hachi
