#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>

#include "engine/graph/graph.h"
#include "engine/tensor/integer_range.h"

namespace hachi {

// In every byte of what an index out of range picks in a run: NaN in real numbers.
inline constexpr int kNothing = 0xFF;

// The elements of an s64 or s32 input in a run.
class Indices {
 public:
  Indices(DType dtype, const std::byte* bytes) : narrow_(dtype == DType::kS32), bytes_(bytes) {}

  int64_t operator[](int64_t i) const {
    return narrow_ ? int64_t{reinterpret_cast<const int32_t*>(bytes_)[i]}
                   : reinterpret_cast<const int64_t*>(bytes_)[i];
  }

 private:
  const bool narrow_;
  const std::byte* bytes_;
};

// What an integer input's elements may be where they pick rows of tables (OpDef::index_input), themselves or
// in what only passes them on; nullopt: they pick none, or of tables whose size a symbol says. Types and
// shapes are inferred.
std::optional<IntegerRange> IndexRange(const Value& value);

}  // namespace hachi
