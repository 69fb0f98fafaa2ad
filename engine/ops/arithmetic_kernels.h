#pragma once

#include <optional>
#include <span>
#include <vector>

#include "engine/onednn/binary.h"
#include "engine/ops/op.h"

namespace hachi {

// a[i] becomes a function of a[i] and b[i]. Spans of one size.
using CombineFloats = void (*)(std::span<float> a, std::span<const float> b);

// The function, a lambda without captures, of two floats.
template <typename Function>
constexpr CombineFloats CombineBy(Function /*function*/) {
  return [](std::span<float> a, std::span<const float> b) {
#pragma omp simd
    for (size_t i = 0; i < a.size(); ++i) a[i] = Function()(a[i], b[i]);
  };
}

// Real inputs: two of them through oneDNN where it has a fast kernel, else our own, which takes any number of
// operands, folded from the left, of any layouts and with any scales.
std::vector<Offer> ArithmeticOffers(std::optional<BinarySpec::Kind> library, CombineFloats combine);

}  // namespace hachi
