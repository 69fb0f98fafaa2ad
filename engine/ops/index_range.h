#pragma once

#include <optional>

#include "engine/graph/graph.h"
#include "engine/tensor/integer_range.h"

namespace hachi {

// In every byte of what an index out of range picks in a run: NaN in real numbers.
inline constexpr int kNothing = 0xFF;

// What an integer input's elements may be where they pick rows of tables (OpDef::index_input), themselves or
// in what only passes them on; nullopt: they pick none, or of tables whose size a symbol says. Types and
// shapes are inferred.
std::optional<IntegerRange> IndexRange(const Value& value);

}  // namespace hachi
