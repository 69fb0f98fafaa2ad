#pragma once

#include <optional>
#include <vector>

#include "engine/ops/op.h"

// What operators of several inputs share, which broadcast as NumPy does.
namespace hachi {

// The contents of both inputs of a node, elements paired by broadcasting; nullopt where one is unknown.
struct PairedContent {
  SymbolicShape a, b;
};
std::optional<PairedContent> PairContents(const Node& node);

// Where element `i` of `shape` lies in an operand that broadcasts to it. For references.
int64_t BroadcastIndex(int64_t i, std::span<const int64_t> shape, std::span<const int64_t> operand);

// How a step walks a result and the operands that broadcast to it: as rows in the result's memory order, its
// axes merged where every operand allows that and those of one element left out.
struct BroadcastRows {
  std::vector<int64_t> sizes;  // outermost first, at least one; the last is a row's length
  std::vector<std::vector<int64_t>>
      strides;  // of each operand along each of those axes, in elements; 0: it broadcasts

  static BroadcastRows Of(const TensorSpec& result, std::span<const TensorSpec> operands);

  int64_t count() const;  // of rows
  int64_t length() const { return sizes.back(); }
  int64_t stride(size_t operand) const { return strides[operand].back(); }  // within a row

  // Whether an operand has an element for each of the result's, in the same order.
  bool IsWhole(size_t operand) const;

  // So many rows, from a multiple of it on, have the same elements of an operand.
  int64_t Repeats(size_t operand) const;

  // Where an operand's elements of row `row` begin.
  int64_t Begin(size_t operand, int64_t row) const;
};

// Content of an operator of two integer inputs, element by element; `fn` gives nullopt where it knows none.
template <typename Fn>
std::optional<SymbolicShape> CombineContents(const Node& node, const Fn& fn) {
  const auto pairs = PairContents(node);
  if (!pairs) return std::nullopt;
  SymbolicShape content;
  for (size_t i = 0; i < pairs->a.size(); ++i) {
    const std::optional<Dim> dim = fn(pairs->a[i], pairs->b[i]);
    if (!dim) return std::nullopt;
    content.push_back(*dim);
  }
  return content;
}

}  // namespace hachi
