#include "engine/passes/integers.h"

#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "engine/base/status_macros.h"
#include "engine/cpu/team.h"
#include "engine/ops/op.h"
#include "engine/ops/quantized.h"
#include "engine/ops/quantizers.h"
#include "engine/quant/weights.h"

namespace hachi {
namespace {

// Calls fn(flat index, index along `axis`) for every element.
template <typename Fn>
void ForEachElement(const Shape& shape, size_t axis, const Fn& fn) {
  const int64_t inner = CountOf(std::span(shape).subspan(axis + 1)), count = CountOf(shape);
  for (int64_t i = 0; i < count; ++i) fn(i, static_cast<size_t>(i / inner % shape[axis]));
}

// The axis of `to` that steps through the same elements as `axis` of `from`, whose order is the same;
// nullopt: there is none.
std::optional<int> SameAxis(const Shape& from, size_t axis, const Shape& to) {
  const int64_t outer = CountOf(std::span(from).first(axis));
  int64_t before = 1;
  for (size_t i = 0; i < to.size(); before *= to[i++])
    if (before == outer && to[i] == from[axis]) return static_cast<int>(i);
  return std::nullopt;
}

// Where a node that moves elements puts the axis of scales; nullopt: nowhere.
std::optional<int> MovedAxis(const Node& node, int axis, const Shape& from, const Shape& to) {
  if (axis < 0) return axis;
  if (node.op == "Transpose") {
    const auto perm = node.Ints("perm", {});
    if (!perm.ok()) return std::nullopt;
    if (perm->empty()) return static_cast<int>(from.size()) - 1 - axis;
    const auto found = std::ranges::find(*perm, axis);
    return static_cast<int>(found - perm->begin());
  }
  if (CountOf(from) != CountOf(to)) return std::nullopt;
  return SameAxis(from, static_cast<size_t>(axis), to);
}

std::shared_ptr<const ConstantIntegers> ScaledIntegers(const ConstantIntegers& integers,
                                                       std::span<const double> factors, size_t axis) {
  auto scaled = std::make_shared<ConstantIntegers>();
  QuantParams& params = scaled->params = integers.params;
  if (factors.size() > 1 && !params.per_tensor() && params.axis != static_cast<int>(axis)) return nullptr;
  if (factors.size() > 1 && params.per_tensor())
    params = {std::vector<float>(factors.size(), params.scale()), std::vector<int32_t>(factors.size(), 0),
              static_cast<int>(axis)};
  for (size_t i = 0; i < params.scales.size(); ++i) {
    const double factor = factors[factors.size() > 1 ? i : 0];
    params.scales[i] = static_cast<float>(static_cast<double>(params.scales[i]) * std::abs(factor));
    if (!(params.scales[i] > 0) || !std::isfinite(params.scales[i])) return nullptr;
  }
  const auto from = integers.values.As<int8_t>();
  scaled->values = Tensor(DType::kS8, integers.values.shape());
  const auto to = scaled->values.As<int8_t>();
  bool fits = true;
  const auto scale = [&](int64_t i, size_t index) {
    const bool negative = factors[factors.size() > 1 ? index : 0] < 0;
    fits = fits && !(negative && from[i] == -128);
    to[i] = static_cast<int8_t>(negative ? -from[i] : from[i]);
  };
  if (factors.size() > 1)
    ForEachElement(integers.values.shape(), axis, scale);
  else
    for (int64_t i = 0; i < integers.values.count(); ++i) scale(i, 0);
  return fits ? scaled : nullptr;
}

}  // namespace

std::shared_ptr<const ConstantIntegers> IntegersOf(const Node& dequantizer) {
  const Value& stored = *dequantizer.inputs[0];
  if (stored.dtype != DType::kU8 && stored.dtype != DType::kS8) return nullptr;
  auto params = ReadQuantParams(dequantizer, stored.dtype);
  if (!params.ok()) return nullptr;
  auto integers = std::make_shared<ConstantIntegers>();
  integers->values = Tensor(DType::kS8, stored.constant->shape());
  const auto values = integers->values.As<int8_t>();
  bool fits = true;
  const auto take = [&](int64_t i, size_t channel) {
    const int64_t value = IntegerAt(stored.constant->view(), i) - params->zero_points[channel];
    fits = fits && value >= -128 && value <= 127;
    values[i] = static_cast<int8_t>(value);
  };
  if (params->per_tensor())
    for (int64_t i = 0; i < stored.constant->count(); ++i) take(i, 0);
  else
    ForEachElement(stored.constant->shape(), static_cast<size_t>(params->axis), take);
  std::ranges::fill(params->zero_points, 0);
  integers->params = *std::move(params);
  return fits ? integers : nullptr;
}

std::shared_ptr<const ConstantIntegers> MovedIntegers(const Node& node) {
  const auto* from = node.inputs[0]->integers.get();
  if (from == nullptr || FindOp(node.op)->quantize != QuantRule::kKeepScale || node.outputs.size() != 1)
    return nullptr;
  // The same node on the integers.
  Graph graph;
  std::vector<Value*> inputs;
  for (size_t i = 0; i < node.inputs.size(); ++i) {
    const Value* input = node.inputs[i];
    auto constant = input == nullptr ? nullptr : input->constant;
    if (i == 0)
      constant =
          std::make_shared<const Tensor>(Tensor::Of<int8_t>(from->values.shape(), from->values.As<int8_t>()));
    inputs.push_back(constant == nullptr ? nullptr : graph.AddConstant(input->name, std::move(constant)));
  }
  Node* moved = graph.AddNode(node.op, node.name, std::move(inputs), {"moved"}, node.attrs);
  if (!InferNode(*moved).ok()) return nullptr;
  std::vector<TensorView> views;
  for (const Value* input : moved->inputs)
    views.push_back(input == nullptr ? TensorView() : input->constant->view());
  auto results = RunReference(*moved, views, {});
  if (!results.ok() || (*results)[0].dtype() != DType::kS8) return nullptr;
  auto integers = std::make_shared<ConstantIntegers>();
  integers->params = from->params;
  const auto axis = MovedAxis(node, from->params.axis, from->values.shape(), (*results)[0].shape());
  if (!axis) return nullptr;
  integers->params.axis = *axis;
  integers->values = std::move((*results)[0]);
  return integers;
}

absl::StatusOr<std::shared_ptr<const ConstantIntegers>> QuantizedIntegers(const Node& node,
                                                                          const Value& weights,
                                                                          int channel_axis, int bits) {
  auto quantized = QuantizeWeights(weights.constant->view(), channel_axis, bits);
  if (!quantized.ok()) return WithContext(quantized.status(), absl::StrCat("node '", node.name, "'"));
  return std::make_shared<const ConstantIntegers>(
      ConstantIntegers{std::move(quantized->values), std::move(quantized->params)});
}

Value* AddQuantized(Graph& graph, const Value& weights, std::shared_ptr<const ConstantIntegers> integers) {
  Value* added =
      graph.AddConstant(graph.UniqueValueName(absl::StrCat(weights.name, "_s8")), weights.constant);
  added->integers = std::move(integers);
  return added;
}

Value* AddScaled(Graph& graph, const Value& constant, const std::string& name,
                 std::span<const double> factors, size_t axis) {
  const Tensor& from = *constant.constant;
  const Shape& shape = from.shape();
  auto scaled = std::make_shared<Tensor>(DType::kF32, shape);
  const float* in = from.As<float>().data();
  float* out = scaled->As<float>().data();
  const int64_t together = factors.size() > 1 ? CountOf(std::span(shape).subspan(axis + 1)) : from.count();
  constexpr int64_t kGrain = 1 << 16;  // elements worth waking the team for
  if (together > 0)
    ParallelFor(from.count() / together, kGrain / together + 1, [&](int64_t first, int64_t last) {
      for (int64_t row = first; row < last; ++row) {
        const double factor = factors[static_cast<size_t>(row) % factors.size()];
        for (int64_t i = row * together; i < (row + 1) * together; ++i)
          out[i] = static_cast<float>(static_cast<double>(in[i]) * factor);
      }
    });
  Value* added = graph.AddConstant(graph.UniqueValueName(name), std::move(scaled));
  if (constant.integers != nullptr) added->integers = ScaledIntegers(*constant.integers, factors, axis);
  return added;
}

}  // namespace hachi
