#pragma once

#include <algorithm>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/engine.h"
#include "engine/graph/graph.h"
#include "engine/kernels/intake.h"
#include "engine/tensor/input_options.h"

// How rows get into a graph and out of it: what serving and calibration ask in the same way.
namespace hachi {

// What free dimensions are tried with at load, where nothing is configured: images first, then sequences,
// sounds.
inline constexpr int64_t kTrialSizes[] = {224, 64, 32, 1024, 16384};

// A tensor as clients see it, in their order of axes, without rows.
TensorSignature SignatureOf(std::string name, DType dtype, const SymbolicShape& dims);

// The dimensions of one row of a tensor, or the whole one's where nothing counts rows. REQUIRES: the first is
// `rows`, where that is set.
SymbolicShape RowDims(const SymbolicShape& dims, const std::optional<Dim>& rows);

// INVALID_ARGUMENT where a name is not that of an input, or where that input is not f32 and is to be
// converted.
absl::Status CheckInputs(const Graph& graph, const std::map<std::string, InputOptions>& inputs);

// What is configured of an input; defaults otherwise.
InputOptions OptionsOf(const Value& input, const std::map<std::string, InputOptions>& inputs);

// A row's dimensions in the model's order of axes, as clients send them; and back.
template <typename Dims>
Dims ToClient(Dims row, const InputOptions& client) {
  if (client.channels_last && row.size() > 1) std::rotate(row.begin(), row.begin() + 1, row.end());
  return row;
}
inline Shape FromClient(Shape row, const InputOptions& client) {
  if (client.channels_last && row.size() > 1) std::rotate(row.begin(), row.end() - 1, row.end());
  return row;
}

// Holds a row's shape against its dimensions, each a number or a symbol, and notes what symbols stand for.
// INVALID_ARGUMENT where a number or an earlier value of the symbol differs, or a size is below 1.
absl::Status MatchDims(const SymbolicShape& dims, std::span<const int64_t> shape, Bindings& bindings);

// What brings rows of that shape from clients to a graph input, as the passes have left that. Errors name the
// input.
absl::StatusOr<Intake> MakeIntake(const Value& input, const Shape& row_shape, const InputOptions& client,
                                  bool batched);

// The value's layout with an axis of rows in front, also where the tensor has none.
Layout LayoutOfRows(const Value& value, bool batched);

}  // namespace hachi
