#pragma once

#include <optional>
#include <span>
#include <string_view>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/graph/graph.h"
#include "engine/tensor/tensor.h"

// Pieces of operators whose answer has as many elements as a run finds (OpDef::measured_axis).
//
// Where the inputs are constants, inference finds them. Else the node has to be marked by the attribute
// kMeasured, as a model that runs in stages does: its outputs then have room for the most that there can be,
// filled from the front, and it has one more output, a scalar s64, which says how many there are.
namespace hachi {

inline constexpr std::string_view kMeasured = "measured";

bool IsMeasured(const Node& node);

// The dimension of the outputs along their measured axis: `most` where the node is marked, else what `count`
// says of the inputs. UNIMPLEMENTED where those are no constants.
absl::StatusOr<Dim> MeasuredDim(const Node& node, const Dim& most,
                                absl::FunctionRef<int64_t(std::span<const TensorView>)> count);

// The node has so many outputs, or as few as `least`, but for the one that counts; infers that one.
absl::Status InferCount(Node& node, size_t least, size_t most);

// The attribute `axis`, along which slices are taken; nullopt: elements of the flattened input 0 are.
absl::StatusOr<std::optional<size_t>> OptionalAxis(const Node& node);

// Says that `count` elements were found, in the output for it, if there is one.
void StoreCount(const Node& node, int64_t count, std::span<Tensor> outputs);

}  // namespace hachi
