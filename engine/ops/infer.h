#pragma once

#include <initializer_list>
#include <optional>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/graph/graph.h"

// Pieces that operators' infer functions are made of. All return INVALID_ARGUMENT saying what was found and
// expected; the caller adds the node.
namespace hachi {

// Between `min` and `max` inputs are listed and the first `min` of them are there.
absl::Status CheckInputCount(const Node& node, size_t min, size_t max);

// Input `i` has one of the types.
absl::Status CheckInputType(const Node& node, size_t i, std::initializer_list<DType> types);

// Input `i` stands for real numbers: f32, or quantized u8 or s8.
absl::Status CheckReal(const Node& node, size_t i);

// Input `i` has so many elements, in whatever shape, also when they are computed.
absl::Status CheckElementCount(const Node& node, size_t i, int64_t count);

absl::Status CheckRank(const Node& node, size_t i, size_t min, size_t max);

// `axis` counted from the front; negative ones count from the back.
absl::StatusOr<size_t> CheckAxis(int64_t axis, size_t rank);

// Whether two dimensions are equal, or round symbols, as what is halved and doubled again does: whether those
// are equal shows only with numbers, and is looked at again then (LoadedModel).
bool MayBeEqual(const Dim& a, const Dim& b);

// The dimensions of NumPy broadcasting. Symbolic dimensions must be equal, as far as can be told, or meet
// a 1.
absl::StatusOr<SymbolicShape> BroadcastDims(const SymbolicShape& a, const SymbolicShape& b);

// Sets the only output.
absl::Status SetOutput(Node& node, DType dtype, SymbolicShape dims);

// Sets the only output to hold elements of input 0 and nothing else: its type, its quantization too.
absl::Status SetOutputLike(Node& node, SymbolicShape dims);

// infer for operators of one input whose output equals it.
absl::Status InferLikeInput(Node& node);

// The type of a result that stands for real numbers: the output's own where it is quantized, else f32.
DType RealType(const Value& output);

// That of what a product or convolution makes, whose operands are quantized, f32 or bf16.
DType ProductType(const Node& node);

// Input `i` of a product or convolution is quantized, f32 or bf16, and both operands alike.
absl::Status CheckOperand(const Node& node, size_t i);

// Whether the value's elements are real numbers: f32, or quantized.
bool IsReal(const Value& value);

// The most elements of a value that are looked at as dimensions: shapes have few, and each node keeps its
// own.
inline constexpr int64_t kMaxContent = 1024;

// What is known of an integer vector's or scalar's elements: a constant's, or what inference found. Nothing
// of more than kMaxContent.
std::optional<SymbolicShape> ContentOf(const Value& value);

// The elements of a computed integer vector or scalar, where inference knows them as numbers.
std::optional<Tensor> KnownElements(const Value& value);

// The elements of input `i`, an integer vector or scalar called `what` in errors: UNIMPLEMENTED where they
// are not known as numbers.
absl::StatusOr<AxisNumbers> KnownInts(const Node& node, size_t i, std::string_view what);

}  // namespace hachi
