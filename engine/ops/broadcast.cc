#include "engine/ops/broadcast.h"

#include "engine/ops/infer.h"

namespace hachi {

std::optional<PairedContent> PairContents(const Node& node) {
  if (node.inputs[0]->rank() > 1 || node.inputs[1]->rank() > 1) return std::nullopt;
  const auto a = ContentOf(*node.inputs[0]), b = ContentOf(*node.inputs[1]);
  if (!a || !b) return std::nullopt;
  const size_t count = a->size() == 1 ? b->size() : a->size();
  if ((a->size() != 1 && a->size() != count) || (b->size() != 1 && b->size() != count)) return std::nullopt;
  PairedContent pairs;
  for (size_t i = 0; i < count; ++i) {
    pairs.a.push_back((*a)[a->size() == 1 ? 0 : i]);
    pairs.b.push_back((*b)[b->size() == 1 ? 0 : i]);
  }
  return pairs;
}

int64_t BroadcastIndex(int64_t i, std::span<const int64_t> shape, std::span<const int64_t> operand) {
  int64_t index = 0, stride = 1;
  for (size_t k = 1; k <= operand.size(); ++k) {
    const int64_t size = operand[operand.size() - k];
    if (size != 1) index += i % shape[shape.size() - k] * stride;
    i /= shape[shape.size() - k];
    stride *= size;
  }
  return index;
}

BroadcastRows BroadcastRows::Of(const TensorSpec& result, std::span<const TensorSpec> operands) {
  const size_t rank = result.shape.size();
  std::vector<std::vector<int64_t>> by_axis;  // strides by axis of the result
  for (const TensorSpec& operand : operands) {
    std::vector<int64_t> own = operand.layout.StridesOf(operand.shape);
    for (size_t axis = 0; axis < own.size(); ++axis)
      if (operand.shape[axis] == 1) own[axis] = 0;
    own.insert(own.begin(), rank - own.size(), 0);
    by_axis.push_back(std::move(own));
  }
  BroadcastRows rows;
  rows.strides.resize(operands.size());
  for (const int axis : result.layout.Order(rank)) {
    const int64_t size = result.shape[axis];
    if (size == 1) continue;
    bool merges = !rows.sizes.empty();
    for (size_t k = 0; merges && k < operands.size(); ++k)
      merges = rows.strides[k].back() == size * by_axis[k][axis];
    if (merges) {
      rows.sizes.back() *= size;
    } else {
      rows.sizes.push_back(size);
    }
    for (size_t k = 0; k < operands.size(); ++k) {
      if (merges) rows.strides[k].pop_back();
      rows.strides[k].push_back(by_axis[k][axis]);
    }
  }
  if (rows.sizes.empty()) {
    rows.sizes.push_back(1);
    for (std::vector<int64_t>& strides : rows.strides) strides.push_back(0);
  }
  return rows;
}

int64_t BroadcastRows::count() const { return CountOf(std::span(sizes).first(sizes.size() - 1)); }

bool BroadcastRows::IsWhole(size_t operand) const {
  int64_t elements = 1;
  for (size_t axis = sizes.size(); axis-- > 0; elements *= sizes[axis])
    if (strides[operand][axis] != elements) return false;
  return true;
}

int64_t BroadcastRows::Repeats(size_t operand) const {
  int64_t rows = 1;
  for (size_t axis = sizes.size() - 1; axis-- > 0 && strides[operand][axis] == 0;) rows *= sizes[axis];
  return rows;
}

int64_t BroadcastRows::Begin(size_t operand, int64_t row) const {
  int64_t at = 0;
  for (size_t axis = sizes.size() - 1; axis-- > 0; row /= sizes[axis])
    at += row % sizes[axis] * strides[operand][axis];
  return at;
}

}  // namespace hachi
