#include "engine/tensor/layout.h"

#include <numeric>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace hachi {

Layout Layout::FromOrder(std::vector<int> order) {
  Layout layout;
  for (size_t i = 0; i < order.size(); ++i)
    if (order[i] != static_cast<int>(i)) {
      layout.order_ = std::move(order);
      break;
    }
  return layout;
}

Layout Layout::ChannelsLast(size_t rank) {
  if (rank < 3) return Layout();
  std::vector<int> order{0};
  for (size_t axis = 2; axis < rank; ++axis) order.push_back(static_cast<int>(axis));
  order.push_back(1);
  return FromOrder(std::move(order));
}

std::vector<int> Layout::Order(size_t rank) const {
  if (!order_.empty()) return order_;
  std::vector<int> order(rank);
  std::iota(order.begin(), order.end(), 0);
  return order;
}

std::vector<int64_t> Layout::StridesOf(std::span<const int64_t> shape) const {
  const std::vector<int> order = Order(shape.size());
  std::vector<int64_t> strides(shape.size());
  int64_t stride = 1;
  for (size_t i = order.size(); i-- > 0;) {
    strides[order[i]] = stride;
    // Only of an empty tensor can it be too large to count; nothing is found there by it.
    if (__builtin_mul_overflow(stride, shape[order[i]], &stride)) stride = 0;
  }
  return strides;
}

bool Layout::SameBytes(const Layout& other, std::span<const int64_t> shape) const {
  const auto mine = StridesOf(shape), theirs = other.StridesOf(shape);
  for (size_t axis = 0; axis < shape.size(); ++axis)
    if (shape[axis] != 1 && mine[axis] != theirs[axis]) return false;
  return true;
}

std::string Layout::ToText() const {
  if (order_.empty()) return "row_major";
  if (*this == ChannelsLast(order_.size())) return "channels_last";
  return absl::StrCat("order(", absl::StrJoin(order_, ","), ")");
}

}  // namespace hachi
