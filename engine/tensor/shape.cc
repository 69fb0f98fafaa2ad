#include "engine/tensor/shape.h"

#include <algorithm>
#include <limits>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace hachi {

int64_t CountOf(std::span<const int64_t> shape) {
  if (std::find(shape.begin(), shape.end(), 0) != shape.end()) return 0;
  int64_t count = 1;
  for (const int64_t dim : shape)
    if (__builtin_mul_overflow(count, dim, &count)) return std::numeric_limits<int64_t>::max();
  return count;
}

absl::StatusOr<int64_t> CheckedCount(std::span<const int64_t> shape, size_t element_bytes) {
  const int64_t limit = (int64_t{1} << 62) / static_cast<int64_t>(element_bytes);
  bool empty = false;
  int64_t count = 1;  // of a tensor without elements, what its other dimensions multiply to
  for (const int64_t dim : shape) {
    if (dim < 0)
      return absl::InvalidArgumentError(
          absl::StrCat("shape ", ShapeText(shape), " has a negative dimension, expected none"));
    empty = empty || dim == 0;
    if (dim > limit / count)
      return absl::InvalidArgumentError(
          absl::StrCat("shape ", ShapeText(shape), " is too large, expected at most ", limit, " elements"));
    count *= std::max<int64_t>(dim, 1);
  }
  return empty ? 0 : count;
}

absl::Status CheckShape(std::span<const int64_t> shape, size_t element_bytes) {
  constexpr int64_t kMaxBytes = int64_t{1} << 40;
  auto bytes = static_cast<int64_t>(element_bytes);
  for (const int64_t dim : shape) {
    if (dim < 0)
      return absl::InvalidArgumentError(
          absl::StrCat("shape ", ShapeText(shape), " has a negative dimension, expected none"));
    if (dim > kMaxDim)
      return absl::ResourceExhaustedError(
          absl::StrCat("shape ", ShapeText(shape), " has a dimension ", dim, ", expected at most ", kMaxDim));
    if (__builtin_mul_overflow(bytes, std::max<int64_t>(dim, 1), &bytes) || bytes > kMaxBytes)
      return absl::ResourceExhaustedError(
          absl::StrCat("shape ", ShapeText(shape), " takes more than ", kMaxBytes, " bytes, expected fewer"));
  }
  return absl::OkStatus();
}

std::string ShapeText(std::span<const int64_t> shape) {
  return absl::StrCat("[", absl::StrJoin(shape, ","), "]");
}

}  // namespace hachi
