#pragma once

#include <memory>
#include <span>
#include <string>

#include "absl/status/statusor.h"
#include "engine/graph/graph.h"

// The integers that constants were dequantized from (Value::integers), through what passes do to the real
// numbers. Null always means: there are none that stand for the result exactly.
namespace hachi {

// Those of a DequantizeLinear's constants, its zero points taken off; null also where s8 doesn't hold them.
// REQUIRES: inferred.
std::shared_ptr<const ConstantIntegers> IntegersOf(const Node& dequantizer);

// Those of what the node, which only moves elements, makes of its constant inputs. REQUIRES: inferred.
std::shared_ptr<const ConstantIntegers> MovedIntegers(const Node& node);

// Integers of so many bits for the weights of a node, with a scale for each index of `channel_axis` (see
// QuantizeWeights). Errors name the node.
absl::StatusOr<std::shared_ptr<const ConstantIntegers>> QuantizedIntegers(const Node& node,
                                                                          const Value& weights,
                                                                          int channel_axis, int bits);

// A new constant of the weights' real numbers with these integers.
Value* AddQuantized(Graph& graph, const Value& weights, std::shared_ptr<const ConstantIntegers> integers);

// A new constant of that name: the real numbers of `constant` times `factors`, one for all or one for each
// index along `axis`, and its integers, whose scales take the factors.
Value* AddScaled(Graph& graph, const Value& constant, const std::string& name,
                 std::span<const double> factors, size_t axis);

}  // namespace hachi
