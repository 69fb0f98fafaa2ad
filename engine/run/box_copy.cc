#include "engine/run/box_copy.h"

#include <cstring>
#include <functional>
#include <numeric>

namespace hachi {
namespace {

struct Copier {
  const Shape &src_shape, &dst_shape, &box;
  size_t element_bytes;

  static size_t Stride(const Shape& shape, size_t axis, size_t element_bytes) {
    return std::accumulate(shape.begin() + static_cast<ptrdiff_t>(axis) + 1, shape.end(), element_bytes,
                           [](size_t bytes, int64_t size) { return bytes * static_cast<size_t>(size); });
  }

  void Copy(size_t axis, const std::byte* src, std::byte* dst) const {
    if (axis == box.size()) {
      std::memcpy(dst, src, element_bytes);
      return;
    }
    const auto count = static_cast<size_t>(box[axis]);
    if (axis + 1 == box.size()) {
      std::memcpy(dst, src, count * element_bytes);
      return;
    }
    const size_t src_stride = Stride(src_shape, axis, element_bytes);
    const size_t dst_stride = Stride(dst_shape, axis, element_bytes);
    for (size_t i = 0; i < count; ++i) Copy(axis + 1, src + i * src_stride, dst + i * dst_stride);
  }
};

}  // namespace

void CopyBox(const std::byte* src, const Shape& src_shape, std::byte* dst, const Shape& dst_shape,
             const Shape& box, size_t element_bytes) {
  Copier{src_shape, dst_shape, box, element_bytes}.Copy(0, src, dst);
}

}  // namespace hachi
